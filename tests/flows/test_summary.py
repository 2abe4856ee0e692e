import json

import polars as pl
import pytest

from flows.summary import score_rows
from tests.artifacts import write_run
from tests.builders import manifest_file


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    root = tmp_path_factory.mktemp("run") / "artifacts"
    write_run(root, items=10, samples=4)
    return root


def change(artifacts, **columns):
    path = artifacts / "grade/scores.parquet"
    scores = pl.read_parquet(path)
    scores.with_columns(**columns).write_parquet(path)
    return score_rows(artifacts)


def literals(**values):
    return {name: pl.lit(value, pl.Float64 if isinstance(value, float) else pl.Int64) for name, value in values.items()}


def test_cut_off_and_ungraded_responses_are_shown_with_the_score(artifacts):
    plain = change(artifacts, **literals(value=0.5, low=0.4, high=0.6, truncated=0, ungraded=0))
    assert {row["trained"] for row in plain[:-1]} == {"50.0 [40.0, 60.0]"}
    counted = change(artifacts, **literals(items=10, samples=4, truncated=3, ungraded=2))
    assert counted[0]["trained"] == "50.0 [40.0, 60.0] (3 cut off; 2 ungraded, 55.0 if right)"
    assert counted[-2]["benchmark"] == "mean of benchmarks"
    assert counted[-2]["trained"] == "50.0 [40.0, 60.0] (3 cut off; 2 ungraded)"


def test_items_that_a_benchmark_lost_are_counted_with_it(artifacts):
    facts = {name: {"items": 10, "rejected": {"repeated_row": 3}} for name in score_names(artifacts)}
    manifest = manifest_file(artifacts / "benchmarks")
    before = manifest.read_text()
    assert score_rows(artifacts)[0]["items"] == "10"
    manifest.write_text(json.dumps(json.loads(before) | {"facts": {"benchmarks": facts}}))
    assert score_rows(artifacts)[0]["items"] == "10 of 13"
    manifest.write_text(before)


def score_names(artifacts):
    return pl.read_parquet(artifacts / "grade/scores.parquet")["benchmark"].unique().to_list()


def test_the_papers_numbers_are_shown_with_its_benchmarks(artifacts):
    average = pl.col("benchmark") == "average"
    mine = change(artifacts, benchmark=pl.when(average).then("benchmark").otherwise(pl.lit("mine")))
    assert not any(key.startswith("paper") for key in mine[0])
    rows = change(artifacts, benchmark=pl.when(average).then("benchmark").otherwise(pl.lit("AIME24")))
    assert (rows[0]["paper: Qwen2.5-32B-Instruct"], rows[0]["paper: LIMO v3"]) == (16.5, 63.3)
    assert (rows[1]["benchmark"], rows[1]["paper: LIMO v3"]) == ("mean of benchmarks", "")
    assert (rows[2]["benchmark"], rows[2]["paper: LIMO v3"]) == ("mean of the 1 that the paper has", "63.3")
