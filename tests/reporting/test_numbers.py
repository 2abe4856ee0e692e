import polars as pl
import pytest

from tasks.reporting.numbers import (
    HARDEST,
    best_sample,
    costs,
    difficulty,
    example_pair,
    funnel,
    hardest_samples,
    histogram_table,
    length_summary,
    lengths,
    quality,
)
from tasks.reporting.results import read_paper, results
from tests.artifacts import write_run


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("artifacts"))


def test_each_filter_of_the_funnel_takes_what_the_one_before_kept(artifacts):
    lines = funnel(artifacts)
    assert [line.stage for line in lines[:5]] == ["pull", "clean", "decontaminate", "screen", "band"]
    assert [line.taken for line in lines[1:5]] == [line.kept for line in lines[:4]]
    assert all(line.taken == line.kept + sum(line.rejected.values()) for line in lines)


def test_difficulty_tells_kept_counts_apart_from_decided_outcomes(artifacts):
    found = {line.outcome: line for line in difficulty(artifacts)}
    assert list(found) == ["never solved", "solved 1", "solved 2", "solved 3", "solved too often"]
    assert [line.kept for line in found.values()] == [False, True, True, True, False]
    assert found["solved too often"].mean_sampled == 9
    assert found["never solved"].mean_sampled == 32
    assert sum(line.questions for line in found.values()) == funnel(artifacts)[4].taken


def test_quality_marks_the_selected_chains(artifacts):
    scored = quality(artifacts)
    assert scored["selected"].sum() == 4
    assert scored.filter("selected")["quality"].min() > scored["quality"].mean()


def test_lengths_by_arm(artifacts):
    summary = {row["arm"]: row for row in length_summary(lengths(artifacts))}
    assert summary["base"]["answers"] == summary["trained"]["answers"] == 80
    assert summary["base"]["truncated"] == 0
    assert summary["base"]["median"] <= summary["base"]["p90"] <= summary["base"]["longest"]


def test_costs_show_what_a_stage_says_and_leave_the_rest_open(artifacts):
    found = {line.stage: line for line in costs(artifacts)}
    assert (found["band"].tokens, found["band"].tokens_saved, found["band"].seconds) == (9000, 1500, 4.5)
    assert (found["answer"].responses, found["answer"].tokens) == (160, 7000)
    assert found["reason"].tokens == 4000
    assert found["base"].tokens is None


def test_results_next_to_the_papers_for_its_benchmarks_only(artifacts):
    lines = {line.benchmark: line for line in results(artifacts)}
    assert list(lines) == ["aime24", "sums", "average"]
    assert lines["aime24"].paper["LIMO v3"] == 63.3
    assert lines["sums"].paper == lines["average"].paper == {}
    assert lines["aime24"].comparison["gained"] == 8
    assert lines["average"].comparison is None


def test_the_papers_table_is_whole():
    paper = read_paper()
    assert len(paper["rows"]) == 11
    assert all(len(row) == len(paper["columns"]) for row in paper["rows"].values())
    average = [sum(row[-1] for name, row in paper["rows"].items() if name != "average") / 10]
    assert average == pytest.approx([paper["rows"]["average"][-1]], abs=0.06)


def test_the_example_is_the_first_rank_with_its_trail(artifacts):
    sample = best_sample(artifacts)
    assert sample["rank"] == 1
    assert sample["source"] == "made"
    assert sample["screened"] == 4
    assert sample["solved"] in (1, 2, 3)


def test_the_pair_is_an_item_that_only_the_trained_model_got_right(artifacts):
    pair = example_pair(artifacts)
    assert (pair.base["verdict"], pair.trained["verdict"]) == ("incorrect", "correct")
    assert pair.base["item_id"] == pair.trained["item_id"] == pair.item["item_id"]
    assert pair.item["gold"] in pair.trained["text"]


def test_a_histogram_as_a_table():
    table = histogram_table({"a": [0.1, 0.9], "b": [0.9]}, [0.0, 0.5, 1.0], "quality")
    assert table.rows() == [
        ("quality", 0.0, "a", 0.5),
        ("quality", 0.5, "a", 0.5),
        ("quality", 0.0, "b", 0.0),
        ("quality", 0.5, "b", 1.0),
    ]


def test_the_samples_with_the_highest_last_loss_come_first_with_their_question(artifacts):
    kept = pl.read_parquet(artifacts / "select" / "kept.parquet")
    found = hardest_samples(artifacts)
    assert len(found) == min(HARDEST, kept.height)
    last = kept.row(-1, named=True)
    assert (found[0].chain_id, found[0].question_id) == (last["chain_id"], last["question_id"])
    assert (found[0].first, found[0].last) == (kept.height + 1.0, float(kept.height))
    assert [line.last for line in found] == sorted((line.last for line in found), reverse=True)


def test_a_run_of_before_the_table_has_none(artifacts, tmp_path):
    assert hardest_samples(tmp_path) == []
