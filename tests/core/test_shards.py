import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from tasks.core.errors import LimoError
from tasks.core.shards import Shard, ShardsParams, Work, identity, run_shards
from tests.waiting import LIMIT_SECONDS

HERE = Path(__file__).parents[2]


def square(number, shared):
    if number == shared.get("bad"):
        raise LimoError(f"row {number}: is bad")
    if number == shared.get("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(shared.get("seconds", 0))
    return {"rows": pl.DataFrame({"number": [number], "square": [number**2], "process": [os.getpid()]})}


def content(number):
    return str(number).encode()


def work(folder, **shared):
    return Work("squares", folder, square, shared, identity(__file__))


def shards(count):
    return [Shard(number, content) for number in range(count)]


def read(folders):
    return pl.concat(pl.read_parquet(folder / "rows.parquet") for folder in folders)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_are_made_once(tmp_path, workers):
    done = run_shards(work(tmp_path), shards(5), ShardsParams(workers=workers))
    table = read(done)
    again = run_shards(work(tmp_path), shards(6), ShardsParams(workers=workers))

    assert table["square"].to_list() == [0, 1, 4, 9, 16]
    assert (os.getpid() in table["process"]) == (workers == 1)
    assert again[:5] == done
    assert read(again)[:5].equals(table)


def test_other_params_are_other_shards(tmp_path):
    first = run_shards(work(tmp_path), shards(2), ShardsParams(workers=1))
    other = work(tmp_path)._replace(identity="other")

    assert not set(first) & set(run_shards(other, shards(2), ShardsParams(workers=1)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_mistake_in_order_is_told_and_what_came_before_is_kept(tmp_path, workers):
    with pytest.raises(LimoError, match="row 3: is bad"):
        run_shards(work(tmp_path, bad=3), shards(8), ShardsParams(workers=workers))

    assert {path.name[:6] for path in tmp_path.iterdir()} >= {"000000", "000001", "000002"}
    assert "000003" not in {path.name[:6] for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_a_killed_worker_is_one_line(tmp_path):
    with pytest.raises(LimoError, match=r"squares: a worker was killed \(out of memory\?\); run it again"):
        run_shards(work(tmp_path, deadly=3), shards(8), ShardsParams(workers=2))


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    """The process and its workers are killed by SIGKILL in the middle."""
    code = (
        "from pathlib import Path\n"
        "from tasks.core.shards import ShardsParams, run_shards\n"
        "from tests.core.test_shards import shards, work\n"
        f"if __name__ == '__main__':\n    slow = work(Path({str(tmp_path / 'w')!r}), seconds=0.2)\n"
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

    done = run_shards(work(tmp_path / "w", seconds=0), shards(40), ShardsParams(workers=1))

    assert 6 <= len(before) < 40, "workers went on without their parent"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read(done)["number"].to_list() == list(range(40))
