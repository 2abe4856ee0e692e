import json

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.provenance.edges import (
    EDGE,
    ancestors,
    base_model_id,
    build_edges,
    require_connected,
    require_questions,
    trained_samples,
)
from tests.artifacts import write_run
from tests.builders import manifest_file


@pytest.fixture
def artifacts(tmp_path):
    return write_run(tmp_path)


def rewrite(path, change):
    change(pl.read_parquet(path)).write_parquet(path)


def test_edges_join_every_kind_to_what_it_was_made_from(artifacts):
    edges = build_edges(artifacts)
    made = set(edges.select("stage", "child_kind", "parent_kind").unique().iter_rows())
    assert made == {
        *((stage, "response", parent) for stage in ("screen", "band", "reason") for parent in ("question", "model")),
        ("reason", "chain", "response"),
        ("reason", "chain", "question"),
        ("train", "model", "chain"),
        ("train", "model", "model"),
        ("answer", "response", "item"),
        ("answer", "response", "model"),
        ("grade", "verdict", "response"),
        ("grade", "verdict", "item"),
        ("grade", "response", "model"),
        ("grade", "response", "item"),
        ("grade", "score", "verdict"),
        ("grade", "score", "model"),
    }
    assert not edges.select("child_id", "parent_id").is_duplicated().any()
    require_connected(edges, artifacts)


def test_an_average_is_made_of_the_verdicts_of_all_benchmarks(artifacts):
    edges = build_edges(artifacts)
    scores = pl.read_parquet(artifacts / "grade" / "scores.parquet")
    verdicts = {
        (row["benchmark"], row["arm"]): edges.filter(child_id=row["score_id"], parent_kind="verdict").height
        for row in scores.iter_rows(named=True)
    }
    assert verdicts["aime24", "base"] == verdicts["sums", "base"] == 40
    assert verdicts["average", "base"] == verdicts["average", "trained"] == 80


def test_a_rejected_sample_is_no_ancestor_of_the_model(artifacts):
    samples = trained_samples(artifacts)
    left_out = samples.head(1).with_columns(reason=pl.lit("too_long"), evidence=pl.lit("9000 tokens"))
    left_out.write_parquet(artifacts / "train" / "rejected.parquet")
    assert trained_samples(artifacts)["chain_id"].to_list() == samples["chain_id"].to_list()[1:]
    assert build_edges(artifacts).filter(stage="train", parent_kind="chain").height == samples.height - 1


def test_an_answer_to_an_unknown_item_is_named(artifacts):
    rewrite(artifacts / "benchmarks" / "items.parquet", lambda items: items.tail(-1))
    with pytest.raises(LimoError, match=r"answer used item b_\w+, which no table has"):
        require_connected(build_edges(artifacts), artifacts)


def test_a_chain_whose_response_is_missing_is_named(artifacts):
    edges = build_edges(artifacts)
    chain = edges.filter(child_kind="chain")["child_id"][0]
    cut = edges.filter(~((pl.col("child_id") == chain) & (pl.col("parent_kind") == "response")))
    with pytest.raises(LimoError, match=f"chain {chain} was made from no response"):
        require_connected(cut, artifacts)


def test_a_parent_that_was_made_from_nothing_is_named(artifacts):
    edges = build_edges(artifacts).filter(pl.col("child_kind") != "verdict")
    with pytest.raises(LimoError, match=r"verdict v_\w+ \(and 159 more\) was made from no response"):
        require_connected(edges, artifacts)


def test_a_score_without_verdicts_is_named(artifacts):
    rewrite(artifacts / "grade" / "verdicts.parquet", lambda table: table.filter(pl.col("arm") == "base"))
    with pytest.raises(LimoError, match=r"score s_\w+ \(and 2 more\) was made from no verdict"):
        require_connected(build_edges(artifacts), artifacts)


def test_a_run_without_its_base_is_refused(artifacts):
    manifest = manifest_file(artifacts / "train")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"facts": {}}))
    with pytest.raises(LimoError, match="no fact base_model_id"):
        base_model_id(artifacts)


def make_edges(*pairs):
    rows = [(child, "k", parent, "k", "stage") for child, parent in pairs]
    return pl.DataFrame(rows, schema=EDGE, orient="row")


def test_each_ancestor_is_found_once_at_its_least_depth():
    edges = make_edges(("s", "v"), ("s", "m"), ("v", "r"), ("r", "m"), ("m", "c"), ("x", "y"))
    found = dict(ancestors(edges, "s").select("id", "depth").iter_rows())
    assert found == {"v": 1, "m": 1, "r": 2, "c": 2}


def test_a_cycle_ends():
    assert ancestors(make_edges(("a", "b"), ("b", "a")), "a")["id"].to_list() == ["b", "a"]


def test_an_unknown_record_has_no_ancestors():
    assert ancestors(make_edges(("a", "b")), "z").is_empty()


def test_a_score_of_the_trained_model_reaches_exactly_its_samples_questions(tmp_path):
    edges = build_edges(write_run(tmp_path))
    score = pl.read_parquet(tmp_path / "grade" / "scores.parquet").filter(arm="trained")["score_id"][0]
    reached = ancestors(edges, score).filter(kind="question")["id"]
    samples = pl.read_parquet(tmp_path / "select" / "kept.parquet")["question_id"]
    assert set(reached) == set(samples)
    assert require_questions(edges, "m_trained") == samples.len()


def test_a_trained_model_without_ancestor_questions_is_refused(tmp_path):
    edges = build_edges(write_run(tmp_path)).filter(pl.col("stage") != "train")
    with pytest.raises(LimoError, match=r"score s_\w+ of m_trained reaches no question"):
        require_questions(edges, "m_trained")
    with pytest.raises(LimoError, match="no score was made of the trained model m_other"):
        require_questions(edges, "m_other")
