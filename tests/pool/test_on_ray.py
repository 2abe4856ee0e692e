"""A real local Ray does the same as processes of our own."""

import pytest

from tasks.errors import LimoError
from tasks.pool.shards import ShardsParams, run_shards
from tests.pool.test_shards import read, shards, work


def test_ray_writes_the_same_tables_and_goes_on_where_it_was(tmp_path):
    import ray

    here = run_shards(work(tmp_path / "here"), shards(6), ShardsParams(workers=1))
    on_ray = ShardsParams(run_on="ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(LimoError, match=r"^row 3: is bad$"):
            run_shards(work(tmp_path / "ray", bad=3), shards(6), on_ray)
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "ray").iterdir()}
        there = run_shards(work(tmp_path / "ray"), shards(6), on_ray)
    finally:
        ray.shutdown()

    assert [path.name for path in there] == [path.name for path in here]
    assert read(there).drop("process").equals(read(here).drop("process"))
    assert {"000000", "000001", "000002"} <= {name[:6] for name in before}
    assert {path.name: path.stat().st_mtime_ns for path in there}.items() >= before.items()


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(LimoError, match=r"shards.address: no Ray cluster at 127.0.0.1:1") as error:
        run_shards(work(tmp_path), shards(2), ShardsParams(run_on="ray", address="127.0.0.1:1"))

    assert "\n" not in str(error.value)
