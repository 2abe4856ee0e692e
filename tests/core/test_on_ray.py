"""A real local Ray does the same as processes of our own."""

import json
import subprocess
import sys

import polars as pl
import pytest

from tasks import clean, decontaminate, pull
from tasks.core.errors import LimoError
from tasks.core.shards import ShardsParams, run_shards
from tasks.records.benchmark import ITEM, item_id
from tasks.sources import readers
from tests.core.test_shards import read, shards, work
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.slow(minutes=2)


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    # Before the fixture's first use: who is connected is not connected anew.
    with pytest.raises(LimoError, match=r"shards.address: no Ray cluster at 127.0.0.1:1") as error:
        run_shards(work(tmp_path), shards(2), ShardsParams(run_on="ray", address="127.0.0.1:1"))

    assert "\n" not in str(error.value)


def test_a_stage_runs_on_ray_from_its_command_line(tmp_path):
    (tmp_path / "s.jsonl").write_text('{"question": "1+1?", "answer": "2"}\n')
    source = {"name": "s", "path": str(tmp_path / "s.jsonl")}
    (tmp_path / "params.yaml").write_text(json.dumps({"pull": {"sources": [source]}, "shards": {"run_on": "ray"}}))
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]

    command = [sys.executable, "-m", "tasks.pull", "--params", str(tmp_path / "params.yaml"), *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)

    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(tmp_path / "out/kept.parquet")["question"].to_list() == ["1+1?"]


@pytest.fixture(scope="module")
def cluster():
    """A Ray of this machine, for several runs: starting it takes most of the time."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def test_ray_writes_the_same_tables_and_goes_on_where_it_was(tmp_path, cluster):
    here = run_shards(work(tmp_path / "here"), shards(6), ShardsParams(workers=1))
    on_ray = ShardsParams(run_on="ray")
    with pytest.raises(LimoError, match=r"^row 3: is bad$"):
        run_shards(work(tmp_path / "ray", bad=3), shards(6), on_ray)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "ray").iterdir()}
    there = run_shards(work(tmp_path / "ray"), shards(6), on_ray)

    assert [path.name for path in there] == [path.name for path in here]
    assert read(there).drop("process").equals(read(here).drop("process"))
    assert {"000000", "000001", "000002"} <= {name[:6] for name in before}
    assert {path.name: path.stat().st_mtime_ns for path in there}.items() >= before.items()


ITEM_TEXT = "Amanda received $50 as a gift. She buys two tapes that cost $9 each. How much money has she left?"


def pool_stages(folder, source, items, shards):
    """The bytes of every file that the three stages of the pool write."""
    params = pull.PullParams(sources=({"name": "s", "path": str(source)},))
    pull.run(params, shards, work=folder / "work", out=folder / "pull")
    kept = folder / "pull/kept.parquet"
    clean.run(clean.CleanParams(), shards, questions=kept, out=folder / "clean")
    kept = folder / "clean/kept.parquet"
    rules = decontaminate.DecontaminateParams()
    decontaminate.run(rules, shards, questions=kept, items=items, out=folder / "decontaminate")
    files = sorted(path for path in folder.glob("*/*") if path.suffix in (".parquet", ".json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_pool_stages_write_the_same_files_on_ray(tmp_path, monkeypatch, cluster):
    monkeypatch.setattr(readers, "PIECE_BYTES", 20_000)
    names = ["Amanda", "Josie", "Mary", "Tom"]
    rows = [
        {"question": ITEM_TEXT.replace("Amanda", names[n % 4]).replace("50", str(n // 4)), "answer": str(n // 4 - 18)}
        for n in range(1000)
    ]
    rows += [
        {"question": f"How many legs have {n} cows and {n + 1} hens?", "answer": str(6 * n + 2)} for n in range(500)
    ]
    pl.DataFrame(rows).write_ndjson(tmp_path / "s.jsonl")
    item = {"item_id": item_id("exam", ITEM_TEXT), "benchmark": "exam", "question": ITEM_TEXT, "gold": "32"}
    pl.DataFrame([item | {"kind": "auto", "language": "en", "origin": "f:1"}], schema=ITEM).write_parquet(
        tmp_path / "items.parquet"
    )
    files = (tmp_path / "s.jsonl", tmp_path / "items.parquet")

    here = pool_stages(tmp_path / "here", *files, ShardsParams(workers=1))
    on_ray = pool_stages(tmp_path / "ray", *files, ShardsParams(run_on="ray"))

    assert len(here) == 11
    assert on_ray == here
