import fsspec
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import write_json
from tasks.sources.download import (
    FileRecord,
    UnreachableError,
    disk_errors,
    download,
    locked,
    read_record,
    record_path,
    request_info,
    sha256_of,
    write_record,
)

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def url():
    with fsspec.open("memory://pool/q.jsonl", "wb") as handle:
        handle.write(CONTENT)
    return "memory://pool/q.jsonl"


@pytest.mark.parametrize(("tag", "start"), [(None, b"#" * 1000), ("another version", CONTENT[:1000])])
def test_a_download_of_the_same_version_is_resumed(url, tmp_path, tag, start):
    remote = request_info(url)
    # Marked, to show whether these bytes were downloaded again.
    (tmp_path / "q.jsonl.part").write_bytes(b"#" * 1000)
    write_json(tmp_path / "q.jsonl.part.json", {"size": len(CONTENT), "tag": tag or remote.tag})

    download(remote, tmp_path / "q.jsonl")

    assert (tmp_path / "q.jsonl").read_bytes() == start + CONTENT[1000:]
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]


def test_another_size_than_announced_is_deleted(url, tmp_path):
    with pytest.raises(UnreachableError, match="25600 bytes received where 25601 were announced"):
        download(request_info(url)._replace(size=len(CONTENT) + 1), tmp_path / "q.jsonl")

    assert not (tmp_path / "q.jsonl").exists()
    assert not (tmp_path / "q.jsonl.part").exists()


def test_a_missing_file_is_not_requested_twice():
    with pytest.raises(UnreachableError, match="^no such file$"):
        request_info("memory://pool/none.jsonl", waits=(3600,))


def test_a_full_disk_says_that_the_download_resumes():
    with (
        pytest.raises(
            LimoError, match=r"x: cannot be written \(No space left on device\); free some space and run again"
        ),
        disk_errors("x"),
        open("/dev/full", "wb", buffering=0) as handle,
    ):
        handle.write(b"1")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(LimoError, match=r"file/sub: cannot be written \(Not a directory\)"),
        locked(tmp_path / "file/sub"),
    ):
        pass


def test_a_record_is_read_back_by_its_label(tmp_path):
    record = FileRecord("hub:some/set@0/a b/数.csv", 3, "f" * 64, '"tag"')
    write_record(tmp_path, record)
    write_record(tmp_path, FileRecord("other", 1, "0" * 64))

    assert read_record(tmp_path, record.label) == record
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
