"""The hub's own library against a server that speaks as the hub does; it reads its environment once: in processes."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources.file_server import REVISION, serving
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.slow

LARGE = random.Random(0).randbytes(3_000_000)
FILES = {"data/train-0.jsonl": b'{"question": "1+1", "answer": "2"}\n', "data/train-1.jsonl": LARGE, "README.md": b"x"}
SCRIPT = f"""
import sys
from pathlib import Path
from tasks.core.errors import LimoError
from tasks.sources.hub import fetch_hub
from tasks.sources.source import HubFiles

try:
    for file in fetch_hub(HubFiles(repo="some/set", revision="{REVISION}", file=sys.argv[1]), "key", Path(sys.argv[2])):
        print(file.label, file.size, file.sha256)
except LimoError as error:
    print("error:", error)
"""
EXPECTED = [
    f"hub:some/set@{REVISION}/{name} {len(FILES[name])} {hashlib.sha256(FILES[name]).hexdigest()}"
    for name in ("data/train-0.jsonl", "data/train-1.jsonl")
]


@pytest.fixture
def hub():
    with serving() as server:
        server.put_data_set(FILES, large=("data/train-1.jsonl",))
        yield server


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """A folder that the whole data set was pulled into, to be copied: each process takes a second and a half."""
    folder = tmp_path_factory.mktemp("pulled")
    with serving() as server:
        server.put_data_set(FILES, large=("data/train-1.jsonl",))
        assert fetch(server, folder) == EXPECTED
    return folder


@pytest.fixture
def filled(pulled, tmp_path):
    """This test's folder, with all that was pulled before."""
    return shutil.copytree(pulled, tmp_path, symlinks=True, dirs_exist_ok=True)


def start(hub, folder, file="data/train-*.jsonl", **environment):
    own = {"HF_ENDPOINT": hub.url if hub else "", "HF_HOME": str(folder / "hf"), "PYTHONPATH": os.getcwd()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, file, str(folder / "downloads")],
        env=inherited | own | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def fetch(hub, folder, file="data/train-*.jsonl", **environment):
    process = start(hub, folder, file, **environment)
    shown = process.communicate(timeout=LIMIT_SECONDS)[0].splitlines()
    assert process.returncode == 0
    return shown


def cached(folder, name):
    return folder / "hf/hub/datasets--some--set/snapshots" / REVISION / name


def test_files_come_verified_and_then_serve_offline(hub, tmp_path):
    first = fetch(hub, tmp_path, HF_TOKEN="hf_secret")
    again = fetch(None, tmp_path, HF_HUB_OFFLINE="1")

    assert first == EXPECTED
    assert again == EXPECTED
    assert cached(tmp_path, "data/train-1.jsonl").read_bytes() == LARGE
    assert not cached(tmp_path, "README.md").exists()
    tokens = {token for asked, token in zip(hub.requests, hub.tokens, strict=True) if "some/set" in asked.path}
    assert tokens == {"Bearer hf_secret"}
    assert [path.name for path in (tmp_path / "downloads/hub").rglob("*") if path.is_file()] == [".lock"]


def test_a_killed_download_resumes_from_the_byte_it_reached(hub, tmp_path):
    hub.cuts, hub.stalls = [2_000_000], True
    process = start(hub, tmp_path)
    assert hub.stalled.wait(LIMIT_SECONDS)
    parts = []
    while not (parts and parts[0].stat().st_size == 2_000_000):
        parts = list(tmp_path.rglob("*.part"))
        assert process.poll() is None
    process.kill()
    process.communicate()

    assert fetch(hub, tmp_path) == EXPECTED
    large = [asked.range for asked in hub.gets() if asked.path.endswith("train-1.jsonl")]
    assert large == [None, "bytes=2000000-"]


def test_what_the_hub_serves_damaged_is_refused(hub, tmp_path):
    hub.files[f"/datasets/some/set/resolve/{REVISION}/data/train-0.jsonl"] = FILES["data/train-0.jsonl"].upper()

    (line,) = fetch(hub, tmp_path)

    damaged = cached(tmp_path, "data/train-0.jsonl").resolve()
    assert f"hub:some/set@{REVISION}/data/train-0.jsonl: damaged in the cache" in line
    assert line.endswith(f"delete {damaged}")


@pytest.mark.parametrize("name", ["data/train-0.jsonl", "data/train-1.jsonl"])
@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_damaged_file_of_the_cache_is_named_and_downloaded_again(hub, filled, name, offline):
    blob = cached(filled, name).resolve()
    blob.write_bytes(b"?" + blob.read_bytes()[1:])

    assert fetch(hub, filled, HF_HUB_OFFLINE=offline)[-1].endswith(
        f"damaged in the cache (it has "
        f"{hashlib.sha256(blob.read_bytes()).hexdigest()} and must have {blob.name}); delete {blob}"
    )
    blob.unlink()
    assert fetch(hub, filled) == EXPECTED


def test_other_content_under_the_same_revision_is_an_error(hub, filled):
    hub.put_data_set(FILES | {"data/train-1.jsonl": LARGE[::-1]}, large=("data/train-1.jsonl",))
    old, new = (hashlib.sha256(content).hexdigest() for content in (LARGE, LARGE[::-1]))

    with_cache = fetch(hub, filled)[-1]
    for path in sorted((filled / "hf").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    without = fetch(hub, filled)[-1]

    for line in (with_cache, without):
        assert f"some/set: data/train-1.jsonl changed under the pinned revision {REVISION}" in line
        assert f"({old} when first pulled, {new} now); pin a revision you trust, or delete" in line
    Path(without.split("or delete ")[1].split(" and the cached file")[0]).unlink()
    assert fetch(hub, filled)[-1].endswith(new)


def test_a_revision_that_the_hub_lost_is_an_error(hub, filled):
    hub.files, hub.missing = {}, {"X-Error-Code": "RevisionNotFound"}

    (line,) = fetch(hub, filled)

    assert f"some/set@{REVISION}: the hub has no such revision (any more); give another" in line


def test_a_hub_that_is_down_leaves_the_cache_in_use(hub, filled):
    hub.refusals = [503] * 100

    assert fetch(hub, filled) == EXPECTED


def test_no_file_matches(hub, tmp_path):
    assert fetch(hub, tmp_path, file="none-*.csv") == [
        f"error: some/set@{REVISION}: no file matches `none-*.csv` (params.yaml: key.file)"
    ]


def test_without_hub_or_cache_it_says_what_is_needed(tmp_path):
    (line,) = fetch(None, tmp_path, HF_HUB_OFFLINE="1")

    assert f"some/set@{REVISION}: cannot be downloaded" in line
    assert "needs a connection to the Hugging Face hub" in line


def test_files_put_into_the_cache_by_hand_are_compared_with_the_record(tmp_path):
    path = cached(tmp_path, "data/train-0.jsonl")
    path.parent.mkdir(parents=True)
    path.write_text("{}\n")

    assert fetch(None, tmp_path, HF_HUB_OFFLINE="1")[0].startswith(f"hub:some/set@{REVISION}/data/train-0.jsonl 3 ")
    path.write_text("{ }\n")
    assert "changed under the pinned revision" in fetch(None, tmp_path, HF_HUB_OFFLINE="1")[0]


def test_a_cache_that_lacks_files_is_not_taken_for_complete(filled):
    cached(filled, "data/train-0.jsonl").unlink()

    (message,) = fetch(None, filled, HF_HUB_OFFLINE="1")

    assert "cannot be downloaded" in message


def test_a_cache_filled_by_other_means_must_have_all_that_was_listed_or_is_numbered(filled):
    shutil.rmtree(filled / "hf")
    for name in ("train-0.jsonl", "part-00000-of-00003.jsonl"):
        file = cached(filled, f"data/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(FILES["data/train-0.jsonl"])

    (listed,) = fetch(None, filled, HF_HUB_OFFLINE="1")
    (numbered,) = fetch(None, filled, file="data/part-*", HF_HUB_OFFLINE="1")

    assert "the cache lacks 1 of 2 files, such as data/train-1.jsonl" in listed
    assert "the cache lacks 2 of 3 files, such as data/part-00001-of-00003.jsonl" in numbered
