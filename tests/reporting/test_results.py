import json

import polars as pl
import pytest

from tasks.report import ReportParams, run
from tasks.reporting.numbers import answer_statistics
from tasks.reporting.results import paper_average, paper_means, read_paper, results, scores_at_k
from tasks.scoring.scores import Resampling, score
from tests.artifacts import write_run
from tests.builders import manifest_file

TEN = [name for name in read_paper()["rows"] if name != "average"]


@pytest.fixture
def root(tmp_path):
    return write_run(tmp_path / "artifacts")


def regrade(root, names=("AIME24", "sums"), answers=None):
    """Scores of the run's verdicts, with its two benchmarks under other names, and some answers changed."""
    verdicts = pl.read_parquet(root / "grade/verdicts.parquet").with_columns(answer_key="extracted")
    copies = [verdicts.filter(benchmark="aime24" if at else "sums") for at in range(len(names))]
    named = [copy.with_columns(benchmark=pl.lit(name)) for copy, name in zip(copies, names, strict=True)]
    changed = pl.concat(named).with_columns(**(answers or {}))
    changed.write_parquet(root / "grade/verdicts.parquet")
    score(changed, Resampling(0.95, 200, 0)).scores.write_parquet(root / "grade/scores.parquet")


def where(condition, value, column):
    return {column: pl.when(condition).then(pl.lit(value)).otherwise(column)}


def line_of(lines, benchmark, arm):
    (found,) = [line for line in lines if (line.score["benchmark"], line.score["arm"]) == (benchmark, arm)]
    return found


def test_the_answers_of_a_score_are_counted(root):
    first = pl.col("sample_index") == 0
    regrade(root, answers=where((pl.col("arm") == "trained") & first, "ungraded", "verdict"))
    path = root / "grade/verdicts.parquet"
    changed = pl.read_parquet(path).with_columns(
        **where((pl.col("arm") == "base") & (pl.col("verdict") == "incorrect"), None, "extracted"),
        **where(first, "length", "finish_reason"),
    )
    changed.write_parquet(path)
    lines = answer_statistics(root)
    assert [(line.score["benchmark"], line.score["arm"]) for line in lines] == [
        (name, arm) for name in ("AIME24", "sums", "average") for arm in ("base", "trained")
    ]
    trained, base = line_of(lines, "AIME24", "trained"), line_of(lines, "AIME24", "base")
    assert (trained.answers, trained.ungraded, trained.truncated, trained.no_answer) == (40, 10, 10, 0)
    assert trained.at_most == pytest.approx(trained.score["value"] + 10 / 40)
    wrong = changed.filter(benchmark="AIME24", arm="base", verdict="incorrect").height
    assert (base.ungraded, base.no_answer, base.at_most) == (0, wrong, pytest.approx(base.score["value"]))
    assert trained.median <= trained.p90


def test_the_average_bounds_benchmarks_with_equal_weight(root):
    sums = pl.col("benchmark") == "sums"
    regrade(root, answers=where(sums & (pl.col("arm") == "trained"), "ungraded", "verdict"))
    path = root / "grade/verdicts.parquet"
    verdicts = pl.read_parquet(path)
    # A benchmark with fewer items weighs the same.
    verdicts.filter(~sums | (pl.col("item_id") == verdicts.filter(sums)["item_id"][0])).write_parquet(path)
    lines = answer_statistics(root)
    average, aime = line_of(lines, "average", "trained"), line_of(lines, "AIME24", "trained")
    assert average.at_most == pytest.approx((aime.at_most + 1) / 2)
    assert (average.ungraded, average.answers) == (4, 44)


def test_means_over_the_benchmarks_that_the_paper_has_too(root):
    regrade(root, names=("AIME24", "sums", "math-500"))
    lines = results(root)
    found = paper_means(lines)
    assert found.benchmarks == 2
    assert found.paper["LIMO v3"] == pytest.approx((63.3 + 95.6) / 2, abs=0.051)
    assert found.trained == pytest.approx(50 * sum(line.trained["value"] for line in lines if line.paper))
    assert next(line for line in lines if line.benchmark == "average").paper == {}


def test_the_papers_average_is_given_with_ours_of_its_ten(root):
    regrade(root, names=TEN)
    lines = results(root)
    assert lines[-1].benchmark == "average"
    assert lines[-1].paper == paper_average()
    assert paper_average()["LIMO v3"] == 78.1
    assert paper_means(lines) is None


def test_nothing_is_shared_with_other_benchmarks(root):
    regrade(root, names=("mine", "sums"))
    assert paper_means(results(root)) is None


def test_pass_at_k_and_maj_at_k_are_groups_of_their_own(root):
    regrade(root)
    found = scores_at_k(root)
    assert (found.pass_at, found.maj_at) == (["pass@1", "pass@2", "pass@4"], ["maj@4"])
    assert [row[:2] for row in found.rows] == [
        (name, arm) for name in ("AIME24", "sums") for arm in ("base", "trained")
    ]
    assert found.rows[0][2]["maj@4"]["metric"] == "maj@4"


def page_of(root):
    run(ReportParams(), artifacts=root, out=root / "report")
    return (root / "report/report.html").read_text()


def test_the_page_shows_the_groups_the_bound_and_both_averages(root):
    trained = (pl.col("arm") == "trained") & (pl.col("sample_index") == 0)
    regrade(root, answers=where(trained, "ungraded", "verdict"))
    page = page_of(root)
    assert '<th colspan="3"><span>pass@k</span></th><th colspan="1"><span>maj@k</span></th>' in page
    assert "a bound, not an estimate" in page
    assert f"{100 * line_of(answer_statistics(root), 'sums', 'trained').at_most:.1f}</td>" in page
    assert "78.1<br><small>of its ten</small>" in page
    assert "of the 1 that both have" in page
    assert "Other metrics" not in page
    scores = pl.read_csv(root / "report/scores.csv")
    assert {"at_most", "ungraded", "truncated", "no_answer", "median", "p90"} <= set(scores.columns)


def reject(root, **rejected):
    facts = {name: {"items": 10, "rejected": counts} for name, counts in rejected.items()}
    path = manifest_file(root / "benchmarks")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"facts": {"benchmarks": facts}}))


def test_items_that_a_benchmark_lost_are_given_with_its_score(root):
    regrade(root)
    reject(root, AIME24={"no_gold": 1, "repeated_row": 2}, sums={})
    lines = {line.benchmark: line for line in results(root)}
    assert (lines["AIME24"].items(), lines["sums"].items()) == ("10 of 13", "10")
    page = page_of(root)
    assert "10 of 13 × 4<br>left out: 1 no_gold, 2 repeated_row</small>" in page
    assert "10 × 4</small>" in page
    manifest_file(root / "benchmarks").unlink()
    assert {line.items() for line in results(root) if line.benchmark != "average"} == {"10"}


def test_one_answer_an_item_has_no_groups(root):
    verdicts = pl.read_parquet(root / "grade/verdicts.parquet").filter(sample_index=0)
    verdicts.write_parquet(root / "grade/verdicts.parquet")
    regrade(root)
    assert scores_at_k(root) == ([], [], [])
    assert "maj@k" not in page_of(root)
