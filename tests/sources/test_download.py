import fsspec
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import write_json
from tasks.sources.download import UnreachableError, disk_errors, download, locked, look_up

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def url():
    with fsspec.open("memory://pool/q.jsonl", "wb") as handle:
        handle.write(CONTENT)
    return "memory://pool/q.jsonl"


@pytest.mark.parametrize(("tag", "start"), [(None, b"#" * 1000), ("another version", CONTENT[:1000])])
def test_a_part_of_this_version_is_gone_on_from(url, tmp_path, tag, start):
    remote = look_up(url)
    # Marked, to show whether these bytes came again.
    (tmp_path / "q.jsonl.part").write_bytes(b"#" * 1000)
    write_json(tmp_path / "q.jsonl.part.json", {"size": len(CONTENT), "tag": tag or remote.tag})

    download(remote, tmp_path / "q.jsonl")

    assert (tmp_path / "q.jsonl").read_bytes() == start + CONTENT[1000:]
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]


def test_another_size_than_announced_is_not_kept(url, tmp_path):
    with pytest.raises(UnreachableError, match="25600 bytes came where 25601 were announced"):
        download(look_up(url)._replace(size=len(CONTENT) + 1), tmp_path / "q.jsonl")

    assert not (tmp_path / "q.jsonl").exists()
    assert not (tmp_path / "q.jsonl.part").exists()


def test_a_missing_file_is_not_asked_for_twice():
    with pytest.raises(UnreachableError, match="^no such file$"):
        look_up("memory://pool/none.jsonl", waits=(3600,))


def test_a_full_disk_says_that_it_goes_on_from_there():
    with (
        pytest.raises(LimoError, match=r"x: cannot be written \(No space left on device\); make room and run again"),
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
