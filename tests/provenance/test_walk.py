import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.provenance.edges import EDGE, build_edges, require_reached, trace
from tests.artifacts import write_run


def make_edges(*pairs):
    rows = [(child, "k", parent, "k", "stage") for child, parent in pairs]
    return pl.DataFrame(rows, schema=EDGE, orient="row")


def test_each_ancestor_is_found_once_at_its_least_depth():
    edges = make_edges(("s", "v"), ("s", "m"), ("v", "r"), ("r", "m"), ("m", "c"), ("x", "y"))
    found = dict(trace(edges, "s").select("id", "depth").iter_rows())
    assert found == {"v": 1, "m": 1, "r": 2, "c": 2}


def test_a_cycle_ends():
    assert trace(make_edges(("a", "b"), ("b", "a")), "a")["id"].to_list() == ["b", "a"]


def test_an_unknown_record_has_no_ancestors():
    assert trace(make_edges(("a", "b")), "z").is_empty()


def test_a_score_of_the_trained_model_reaches_exactly_its_samples_questions(tmp_path):
    edges = build_edges(write_run(tmp_path))
    score = pl.read_parquet(tmp_path / "grade" / "scores.parquet").filter(arm="trained")["score_id"][0]
    reached = trace(edges, score).filter(kind="question")["id"]
    samples = pl.read_parquet(tmp_path / "select" / "kept.parquet")["question_id"]
    assert set(reached) == set(samples)
    assert require_reached(edges, "m_trained") == samples.len()


def test_a_trained_model_without_questions_behind_it_is_refused(tmp_path):
    edges = build_edges(write_run(tmp_path)).filter(pl.col("stage") != "train")
    with pytest.raises(LimoError, match=r"score s_\w+ of m_trained reaches no question"):
        require_reached(edges, "m_trained")
    with pytest.raises(LimoError, match="no score was made of the trained model m_other"):
        require_reached(edges, "m_other")
