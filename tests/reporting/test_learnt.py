import polars as pl
import pytest

from tasks.reporting.numbers import MOST, least_learnt
from tests.artifacts import write_run


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("artifacts"))


def test_the_samples_with_the_highest_last_loss_come_first_with_their_question(artifacts):
    kept = pl.read_parquet(artifacts / "select" / "kept.parquet")
    found = least_learnt(artifacts)
    assert len(found) == min(MOST, kept.height)
    last = kept.row(-1, named=True)
    assert (found[0].chain_id, found[0].question_id) == (last["chain_id"], last["question_id"])
    assert (found[0].first, found[0].last) == (kept.height + 1.0, float(kept.height))
    assert [line.last for line in found] == sorted((line.last for line in found), reverse=True)


def test_a_run_of_before_the_table_has_none(artifacts, tmp_path):
    assert least_learnt(tmp_path) == []
