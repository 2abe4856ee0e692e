import hashlib
from pathlib import Path

import pytest

from tasks.core.errors import LimoError
from tasks.sources.fetch import SourceFile, fetch_files, source_facts
from tasks.sources.source import SourceParams
from tests.sources.file_server import serving


def test_local_files_in_order_of_name(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "c.csv"):
        (tmp_path / name).write_text(name)

    found = fetch_files(SourceParams(name="x", path=f"{tmp_path}/*.jsonl"), "pull.sources.3", tmp_path / "downloads")

    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    digests = [hashlib.sha256(path.name.encode()).hexdigest() for path in paths]
    assert found == [SourceFile(path, str(path), 7, digest) for path, digest in zip(paths, digests, strict=True)]
    assert not (tmp_path / "downloads").exists()


def test_a_missing_local_file_names_its_key(tmp_path):
    with pytest.raises(LimoError, match=r"no such file \(params.yaml: pull.sources.3.path\)"):
        fetch_files(SourceParams(name="x", path=f"{tmp_path}/none.csv"), "pull.sources.3", tmp_path)


def test_a_url(tmp_path):
    with serving() as server:
        server.files["/q.csv"] = b"question,answer\n1+1,2\n"
        url = f"{server.url}/q.csv?download=1"

        (found,) = fetch_files(SourceParams(name="x", url={"url": url}), "pull.sources.0", tmp_path)

    assert found.label == url
    assert found.path.read_bytes() == b"question,answer\n1+1,2\n"


def test_a_generator_has_no_files(tmp_path):
    source = SourceParams(name="x", family="days", levels=(2,), count=3)

    assert fetch_files(source, "pull.sources.0", tmp_path) == []


def test_what_a_manifest_keeps(tmp_path):
    source = SourceParams(preset="GSM8K", path="q.jsonl", citation="me")

    assert source_facts(source, [SourceFile(Path("q.jsonl"), "q.jsonl", 7, "0" * 64)]) == {
        "license": "mit",
        "citation": "me",
        "files": [{"file": "q.jsonl", "bytes": 7, "sha256": "0" * 64}],
    }
