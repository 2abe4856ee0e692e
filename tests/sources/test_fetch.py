import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from tasks.core.errors import LimoError
from tasks.sources import download
from tasks.sources.download import SourceFile, record_path
from tasks.sources.fetch import fetch_files, fetch_url, file_name, source_facts
from tasks.sources.source import SourceParams, UrlFile
from tests.sources.file_server import serving
from tests.waiting import LIMIT_SECONDS

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SCRIPT = """
import sys
from pathlib import Path
from tasks.sources.source import UrlFile
from tasks.sources.fetch import fetch_url
fetch_url(UrlFile(url=sys.argv[1]), "key", Path(sys.argv[2]))
"""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "RETRY_SECONDS", (0.01, 0.01))
    with serving() as server:
        server.files["/q.jsonl"] = CONTENT
        yield server


def fetch(server, folder, **given):
    return fetch_url(UrlFile(url=f"{server.url}/q.jsonl", **given), "pull.sources.0.url", folder)


def start(server, folder, **options):
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"{server.url}/q.jsonl", str(folder)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_file_is_downloaded_once_and_serves_offline(server, tmp_path):
    found = fetch(server, tmp_path)
    fetch(server, tmp_path)
    gets = len(server.gets())
    server.shutdown()
    server.server_close()

    again = fetch(server, tmp_path)

    assert found.path.read_bytes() == CONTENT
    assert found == again
    assert (found.label, found.size, found.sha256) == (f"{server.url}/q.jsonl", len(CONTENT), SHA256)
    assert found.path.name == "q.jsonl"
    assert gets == 1
    assert sorted(path.name for path in found.path.parent.iterdir()) == [".lock", "q.jsonl"]


def test_a_killed_download_resumes_from_the_byte_it_reached(server, tmp_path):
    server.cuts, server.stalls = [2_000_000], True
    process = start(server, tmp_path)
    assert server.stalled.wait(LIMIT_SECONDS)
    parts = []
    while not (parts and parts[0].stat().st_size == 2_000_000):
        parts = list(tmp_path.rglob("*.part"))
        assert process.poll() is None
    process.kill()
    process.communicate()

    found = fetch(server, tmp_path)

    assert process.returncode == -signal.SIGKILL
    assert server.gets()[-1].range == "bytes=2000000-"
    assert found.sha256 == SHA256


def test_a_dropped_connection_is_resumed(server, tmp_path):
    server.cuts = [1_000_000, 1_000_000, 2_500_000]

    assert fetch(server, tmp_path).sha256 == SHA256
    starts = [int(asked.range.removeprefix("bytes=").removesuffix("-")) for asked in server.gets()[1:]]
    # What a broken connection had delivered but nobody had read yet is lost.
    assert len(starts) == 3
    assert 900_000 < starts[0] <= starts[1] <= 1_000_000
    assert 2_400_000 < starts[2] <= 2_500_000


def test_a_connection_that_always_breaks_is_one_line_and_keeps_the_bytes(server, tmp_path):
    server.cuts = [1_000_000] * 9

    with pytest.raises(LimoError, match=r"q.jsonl: cannot be downloaded \(.*\) \(params.yaml: pull.sources.0.url\)"):
        fetch(server, tmp_path)

    assert len(server.gets()) < 9
    assert 900_000 < next(tmp_path.rglob("*.part")).stat().st_size <= 1_000_000


def test_without_ranges_it_starts_over(server, tmp_path):
    server.ranges, server.cuts = False, [1_000_000]

    assert fetch(server, tmp_path).path.read_bytes() == CONTENT


def test_bytes_of_an_older_version_are_deleted(server, tmp_path):
    server.cuts = [1_000_000] * 9
    with pytest.raises(LimoError):
        fetch(server, tmp_path)
    server.cuts, server.files["/q.jsonl"] = [], CONTENT[::-1]

    found = fetch(server, tmp_path)

    assert server.gets()[-1].range is None
    assert found.path.read_bytes() == CONTENT[::-1]


def test_a_file_that_changes_in_the_middle_is_no_mixture(server, tmp_path):
    server.cuts, server.replaces = [1_000_000], {"/q.jsonl": CONTENT[::-1]}

    with pytest.raises(LimoError, match="changed while it was downloaded; run again"):
        fetch(server, tmp_path)

    assert fetch(server, tmp_path).path.read_bytes() == CONTENT[::-1]


def test_a_busy_server_is_retried_a_refusal_is_not(server, tmp_path):
    server.refusals = [503, 503]
    assert fetch(server, tmp_path).sha256 == SHA256

    server.refusals = [403] * 9
    before = len(server.requests)
    with pytest.raises(LimoError, match=r"other.csv: cannot be downloaded \(the server answers 403 Forbidden\)"):
        fetch_url(UrlFile(url=f"{server.url}/other.csv"), "key", tmp_path)
    assert len(server.requests) - before == 2


def test_a_missing_file(server, tmp_path):
    with pytest.raises(LimoError, match=r"none.csv: cannot be downloaded \(the server answers 404 Not Found\)"):
        fetch_url(UrlFile(url=f"{server.url}/none.csv"), "key", tmp_path)


def test_a_checksum_is_compared_with_the_file(server, tmp_path):
    with pytest.raises(
        LimoError, match=rf"has sha256 {SHA256}, not {'0' * 64}; .*\(params.yaml: pull.sources.0.url.sha"
    ):
        fetch(server, tmp_path, sha256="0" * 64)

    assert fetch(server, tmp_path, sha256=SHA256).sha256 == SHA256
    gets = len(server.requests)
    assert fetch(server, tmp_path, sha256=SHA256).sha256 == SHA256
    assert len(server.requests) == gets


@pytest.mark.parametrize("new", [CONTENT[::-1], CONTENT[:-1]], ids=["same size", "other size"])
def test_a_changed_file_is_an_error_until_it_is_accepted(server, tmp_path, new):
    before = fetch(server, tmp_path)
    server.files["/q.jsonl"] = new

    with pytest.raises(LimoError, match="changed since it was first pulled") as error:
        fetch(server, tmp_path)
    record = record_path(tmp_path, before.label)
    assert f"delete {record} to accept" in str(error.value)
    assert before.path.read_bytes() == CONTENT

    record.unlink()
    assert fetch(server, tmp_path).path.read_bytes() == new


def test_a_changed_file_is_accepted_by_its_checksum(server, tmp_path):
    fetch(server, tmp_path)
    server.files["/q.jsonl"] = new = CONTENT[::-1]

    assert fetch(server, tmp_path, sha256=hashlib.sha256(new).hexdigest()).path.read_bytes() == new


def test_a_new_etag_on_the_same_content_is_no_change(server, tmp_path):
    fetch(server, tmp_path)
    server.headers["/q.jsonl"] = {"ETag": '"new"'}

    assert fetch(server, tmp_path).sha256 == SHA256
    asked = len(server.requests)
    fetch(server, tmp_path)
    assert [one.method for one in server.requests[asked:]] == ["HEAD"]


def test_a_damaged_file_is_downloaded_again(server, tmp_path):
    found = fetch(server, tmp_path)
    found.path.write_bytes(CONTENT[:-1] + b"!")

    assert fetch(server, tmp_path).path.read_bytes() == CONTENT


def test_a_server_that_sends_no_size(server, tmp_path):
    server.headers["/q.jsonl"] = {"Content-Length": None, "Connection": "close"}

    assert fetch(server, tmp_path).sha256 == SHA256


def test_a_full_disk_is_one_line_and_the_download_resumes(server, tmp_path):
    process = start(server, tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)))
    _, shown = process.communicate()

    assert "tasks.core.errors.LimoError" in shown.splitlines()[-1]
    assert "q.jsonl.part: cannot be written (File too large)" in shown.splitlines()[-1]
    assert fetch(server, tmp_path).path.read_bytes() == CONTENT
    assert server.gets()[-1].range == "bytes=1000000-"


@pytest.mark.slow
def test_two_processes_at_once_download_once(server, tmp_path):
    processes = [start(server, tmp_path) for _ in range(2)]

    assert [process.communicate()[1] for process in processes] == ["", ""]
    assert len(server.gets()) == 1


def test_other_protocols(tmp_path):
    with fsspec.open("memory://folder/q.csv.gz", "wb") as handle:
        handle.write(CONTENT)
    (tmp_path / "q.csv").write_bytes(CONTENT)

    for url in ("memory://folder/q.csv.gz", f"file://{tmp_path}/q.csv"):
        found = fetch_url(UrlFile(url=url), "key", tmp_path / "downloads")
        assert (found.label, found.sha256) == (url, SHA256)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/q.csv", r"cannot be downloaded \(needs a package: pip install gcsfs\) \(params.yaml: key\)"),
        ("nope://bucket/q.csv", r"cannot be downloaded \(Protocol not known: nope\)"),
    ],
)
def test_what_is_missing_is_named(tmp_path, monkeypatch, url, message):
    monkeypatch.setitem(sys.modules, "gcsfs", None)

    with pytest.raises(LimoError, match=message):
        fetch_url(UrlFile(url=url), "key", tmp_path)


def test_a_query_is_no_part_of_the_name():
    assert file_name("https://x.org/a%20b/q.jsonl?download=1&v=2.csv#top") == "q.jsonl"


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


def test_a_url_of_a_source(tmp_path):
    with serving() as server:
        server.files["/q.csv"] = b"question,answer\n1+1,2\n"
        url = f"{server.url}/q.csv?download=1"

        (found,) = fetch_files(SourceParams(name="x", url={"url": url}), "pull.sources.0", tmp_path)

    assert found.label == url
    assert found.path.read_bytes() == b"question,answer\n1+1,2\n"


def test_a_generator_has_no_files(tmp_path):
    source = SourceParams(name="x", family="days", levels=(2,), count=3)

    assert fetch_files(source, "pull.sources.0", tmp_path) == []


def test_the_facts_of_a_manifest(tmp_path):
    source = SourceParams(preset="GSM8K", path="q.jsonl", citation="me")

    assert source_facts(source, [SourceFile(Path("q.jsonl"), "q.jsonl", 7, "0" * 64)]) == {
        "license": "mit",
        "citation": "me",
        "files": [{"file": "q.jsonl", "bytes": 7, "sha256": "0" * 64}],
    }
