import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from tasks import clean, decontaminate, pull
from tasks.core.errors import LimoError
from tasks.core.shards import Job, Shard, ShardsParams, run_shards, shards_digest
from tasks.records.benchmark import ITEM, item_id
from tasks.sources import readers
from tests.waiting import LIMIT_SECONDS

HERE = Path(__file__).parents[2]


def square(number, shared):
    if number == shared.get("bad"):
        raise LimoError(f"row {number}: is bad")
    if number == shared.get("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(shared.get("seconds", 0))
    return {"rows": pl.DataFrame({"number": [number], "square": [number**2], "process": [os.getpid()]})}


def fingerprint(number):
    return str(number).encode()


def job(folder, **shared):
    return Job("squares", folder, square, shared, shards_digest(__file__))


def shards(count):
    return [Shard(number, fingerprint) for number in range(count)]


def read(folders):
    return pl.concat(pl.read_parquet(folder / "rows.parquet") for folder in folders)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_are_computed_once(tmp_path, workers):
    done = run_shards(job(tmp_path), shards(5), ShardsParams(workers=workers))
    table = read(done)
    again = run_shards(job(tmp_path), shards(6), ShardsParams(workers=workers))

    assert table["square"].to_list() == [0, 1, 4, 9, 16]
    assert (os.getpid() in table["process"]) == (workers == 1)
    assert again[:5] == done
    assert read(again)[:5].equals(table)


def test_other_params_are_other_shards(tmp_path):
    first = run_shards(job(tmp_path), shards(2), ShardsParams(workers=1))
    other = job(tmp_path)._replace(digest="other")

    assert not set(first) & set(run_shards(other, shards(2), ShardsParams(workers=1)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_in_order_is_reported_and_earlier_shards_are_kept(tmp_path, workers):
    with pytest.raises(LimoError, match="row 3: is bad"):
        run_shards(job(tmp_path, bad=3), shards(8), ShardsParams(workers=workers))

    assert {path.name[:6] for path in tmp_path.iterdir()} >= {"000000", "000001", "000002"}
    assert "000003" not in {path.name[:6] for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_a_killed_worker_is_one_line(tmp_path):
    with pytest.raises(LimoError, match=r"squares: a worker was killed \(out of memory\?\); run it again"):
        run_shards(job(tmp_path, deadly=3), shards(8), ShardsParams(workers=2))


@pytest.mark.slow
def test_a_killed_run_resumes_where_it_stopped(tmp_path):
    """The process and its workers are killed by SIGKILL in the middle."""
    code = (
        "from pathlib import Path\n"
        "from tasks.core.shards import ShardsParams, run_shards\n"
        "from tests.core.test_shards import job, shards\n"
        f"if __name__ == '__main__':\n    slow = job(Path({str(tmp_path / 'w')!r}), seconds=0.2)\n"
        "    run_shards(slow, shards(40), ShardsParams(workers=2))\n"
    )
    (tmp_path / "run.py").write_text(code)
    running = subprocess.Popen(
        [sys.executable, tmp_path / "run.py"], env=os.environ | {"PYTHONPATH": str(HERE)}, cwd=HERE
    )
    while (
        not (tmp_path / "w").exists() or sum(not path.name.endswith("part") for path in (tmp_path / "w").iterdir()) < 6
    ):
        assert running.poll() is None
        time.sleep(0.05)
    workers = psutil.Process(running.pid).children(recursive=True)
    running.kill()
    running.wait()
    assert psutil.wait_procs(workers, timeout=LIMIT_SECONDS)[1] == []
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "w").iterdir() if not path.name.endswith("part")}

    done = run_shards(job(tmp_path / "w", seconds=0), shards(40), ShardsParams(workers=1))

    assert 6 <= len(before) < 40, "workers outlived their parent"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read(done)["number"].to_list() == list(range(40))


# On a real local Ray, which gives the same tables as processes of this machine.


@pytest.mark.slow(minutes=2)
def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    # Before the fixture's first use: a connected process does not connect again.
    with pytest.raises(LimoError, match=r"shards.address: no Ray cluster at 127.0.0.1:1") as error:
        run_shards(job(tmp_path), shards(2), ShardsParams(run_on="ray", address="127.0.0.1:1"))

    assert "\n" not in str(error.value)


@pytest.mark.slow(minutes=2)
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


@pytest.mark.slow(minutes=2)
def test_ray_writes_the_same_tables_and_resumes_where_it_stopped(tmp_path, cluster):
    here = run_shards(job(tmp_path / "here"), shards(6), ShardsParams(workers=1))
    on_ray = ShardsParams(run_on="ray")
    with pytest.raises(LimoError, match=r"^row 3: is bad$"):
        run_shards(job(tmp_path / "ray", bad=3), shards(6), on_ray)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "ray").iterdir()}
    there = run_shards(job(tmp_path / "ray"), shards(6), on_ray)

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


@pytest.mark.slow(minutes=2)
def test_the_pool_stages_write_the_same_files_on_ray(tmp_path, monkeypatch, cluster):
    monkeypatch.setattr(readers, "RANGE_BYTES", 20_000)
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
