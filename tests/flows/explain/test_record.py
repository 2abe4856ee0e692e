import polars as pl
import pytest

from flows.explain.record import describe
from tasks.core.errors import LimoError
from tasks.provenance.edges import build_edges
from tests.artifacts import write_run


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    root = write_run(tmp_path_factory.mktemp("artifacts"))
    (root / "lineage").mkdir()
    build_edges(root).write_parquet(root / "lineage" / "edges.parquet")
    return root


def first(artifacts, path, column, **where):
    return pl.read_parquet(artifacts / path).filter(**where)[column][0]


def test_a_trained_score_shows_its_verdicts_model_and_every_sample(artifacts):
    score = first(artifacts, "grade/scores.parquet", "score_id", arm="trained")
    shown = describe(artifacts, score)
    assert f"{score} · aime24 · pass@1 · trained model" in shown
    assert "34 correct, 6 incorrect" in shown
    assert "m_base · base · shipped:base" in shown
    assert "4 samples of 4 pool questions" in shown
    assert "step 3 of 3: the last" in shown
    for row in pl.read_parquet(artifacts / "select" / "kept.parquet").iter_rows(named=True):
        line = next(line for line in shown.splitlines() if row["chain_id"] in line)
        assert row["question_id"] in line
        assert row["response_id"] in line
        assert f"{row['quality']:.3f}" in line


def test_a_base_score_says_that_no_sample_lies_behind_it(artifacts):
    score = first(artifacts, "grade/scores.parquet", "score_id", arm="base")
    assert "no sample lies behind it" in describe(artifacts, score)


def test_a_unique_beginning_of_an_id_is_enough(artifacts):
    score = first(artifacts, "grade/scores.parquet", "score_id", arm="trained")
    assert describe(artifacts, score[:12]) == describe(artifacts, score)


def test_an_ambiguous_beginning_names_some_that_fit(artifacts):
    with pytest.raises(LimoError, match=r"'s_': 6 ids begin so, such as s_\w+, .*; give more of it"):
        describe(artifacts, "s_")


@pytest.mark.parametrize("unknown", ["s_zzz", "", "nonsense"])
def test_an_unknown_id_is_one_clear_line(artifacts, unknown):
    with pytest.raises(LimoError, match="has an id that begins so"):
        describe(artifacts, unknown)


def test_a_verdict_shows_item_gold_and_response(artifacts):
    verdict = first(artifacts, "grade/verdicts.parquet", "verdict_id", arm="trained", verdict="correct")
    shown = describe(artifacts, verdict)
    assert "correct by integer" in shown
    assert "gold" in shown
    assert "sampled in answer" in shown
    assert "answer: correct, extracted" in shown
    assert "m_trained · trained" in shown
    assert "<b>It</b> is" in shown


def test_a_judged_verdict_shows_its_judge_and_the_judgement_its_answer(artifacts):
    verdict = first(artifacts, "grade/verdicts.parquet", "verdict_id", rule="judge")
    shown = describe(artifacts, verdict)
    assert "r_judge · base" in shown
    assert "CORRECT" in shown
    judgement = describe(artifacts, "r_judge")
    assert "sampled in grade" in judgement
    assert "grade: a judgement of " in judgement
    assert "The same. CORRECT" in judgement


def test_a_chain_shows_its_question_and_its_history(artifacts):
    chain = first(artifacts, "select/kept.parquet", "chain_id", rank=2)
    question = first(artifacts, "select/kept.parquet", "question_id", rank=2)
    shown = describe(artifacts, chain)
    assert question in shown
    assert "sampled in reason" in shown
    assert "reason: correct" in shown
    assert f"rank 2, {chain}" in shown


def test_an_item_counts_its_verdicts_by_arm(artifacts):
    item = first(artifacts, "benchmarks/items.parquet", "item_id")
    assert "trained: " in describe(artifacts, item)


def test_a_question_that_no_edge_knows_is_still_explained(artifacts):
    question = first(artifacts, "clean/rejected.parquet", "question_id")
    shown = describe(artifacts, question)
    assert "no_verifiable_answer: no final answer that a rule could check; because of clean" in shown
    assert f"`limo why {question}` shows the evidence in full." in shown
