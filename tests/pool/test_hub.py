import os
import subprocess
import sys

REVISION = "0" * 40
SCRIPT = f"""
from tasks.errors import LimoError
from tasks.pool.hub import fetch
from tasks.pool.source import HubFiles

for file in ("data/train-*.jsonl", "none.csv"):
    try:
        print(*(found.label for found in fetch(HubFiles(repo="some/set", revision="{REVISION}", file=file), "key")))
    except LimoError as error:
        print(error)
"""


def fetch_offline(cache):
    environment = os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.getcwd()}
    result = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def test_cached_files_serve_offline(tmp_path):
    folder = tmp_path / "datasets--some--set" / "snapshots" / REVISION / "data"
    folder.mkdir(parents=True)
    for name in ("train-1.jsonl", "train-0.jsonl", "test.jsonl"):
        (folder / name).write_text("{}\n")

    found, missing = fetch_offline(tmp_path)

    assert found == " ".join(f"hub:some/set@{REVISION}/data/train-{part}.jsonl" for part in (0, 1))
    assert "no file matches `none.csv` (params.yaml: key.file)" in missing


def test_without_hub_or_cache_it_says_what_is_needed(tmp_path):
    assert all("needs a way to the Hugging Face hub" in line for line in fetch_offline(tmp_path))
