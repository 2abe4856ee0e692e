import pytest

from tasks.core.errors import LimoError
from tasks.sources.download import Recorded, read_record, record_path, sha256_of, write_record


def test_a_record_is_read_back_by_its_label(tmp_path):
    kept = Recorded("hub:some/set@0/a b/数.csv", 3, "f" * 64, '"tag"')
    write_record(tmp_path, kept)
    write_record(tmp_path, Recorded("other", 1, "0" * 64))

    assert read_record(tmp_path, kept.label) == kept
    assert read_record(tmp_path, "third") is None


def test_a_damaged_record_is_named(tmp_path):
    path = record_path(tmp_path, "a")
    path.parent.mkdir()
    for content in ("{", '{"label": "a"}', "[]"):
        path.write_text(content)
        with pytest.raises(LimoError, match=path.name):
            read_record(tmp_path, "a")


def test_the_checksum_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")

    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(LimoError, match="none: cannot be read"):
        sha256_of(tmp_path / "none")
