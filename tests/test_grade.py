import json

import polars as pl
import pytest

from tasks.errors import LimoError
from tasks.grade import GradeParams, run
from tasks.records.benchmark import ANSWER, ITEM, SCORE, VERDICT, item_id

PARAMS = GradeParams(resamples=200)
GOLDS = {"sums": {"1+1": "2", "1+2": "3", "2+2": "4"}, "halves": {"1/2 as a root": "\\frac{1}{\\sqrt{4}}"}}


def write_items(tmp_path):
    rows = [
        (item_id(benchmark, question), benchmark, question, gold, "auto", "en", "made", None)
        for benchmark, golds in GOLDS.items()
        for question, gold in golds.items()
    ]
    path = tmp_path / "items.parquet"
    pl.DataFrame(rows, schema=ITEM, orient="row").write_parquet(path)
    return path


def answer(benchmark, question, arm, text, sample=0, finish="stop"):
    identity = item_id(benchmark, question)
    return (f"r_{identity}_{arm}_{sample}", identity, benchmark, arm, f"m_{arm}", sample, finish, 10 + sample, text)


def write_answers(tmp_path, *rows):
    path = tmp_path / "answers.parquet"
    pl.DataFrame(rows, schema=ANSWER, orient="row").write_parquet(path)
    return path


ROWS = [
    answer("sums", "1+1", "base", "\\boxed{2}"),
    answer("sums", "1+2", "base", "\\boxed{5}"),
    answer("sums", "2+2", "base", "It goes on and", finish="length"),
    answer("sums", "1+1", "trained", "\\boxed{2}"),
    answer("sums", "1+2", "trained", "The answer is 3."),
    answer("sums", "2+2", "trained", "\\boxed{9^{9^{9^{9}}}}"),
    answer("halves", "1/2 as a root", "base", "\\boxed{1}", 0),
    answer("halves", "1/2 as a root", "base", "\\boxed{0.5}", 1),
    answer("halves", "1/2 as a root", "trained", "\\boxed{\\frac12}", 0),
    answer("halves", "1/2 as a root", "trained", "\\boxed{\\frac{\\sqrt4}{4}}", 1),
]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grade")
    run(PARAMS, items=write_items(folder), answers=write_answers(folder, *ROWS), out=folder / "out")
    return folder / "out"


def scores(out):
    table = pl.read_parquet(out / "scores.parquet")
    return {(row["benchmark"], row["arm"], row["metric"]): row for row in table.iter_rows(named=True)}


def test_every_answer_gets_a_verdict(out):
    verdicts = pl.read_parquet(out / "verdicts.parquet")
    assert verdicts.schema == VERDICT
    assert verdicts["response_id"].to_list() == [row[0] for row in ROWS]
    assert verdicts["verdict"].to_list() == (
        ["correct", "incorrect", "incorrect", "correct", "correct", "ungraded"] + ["incorrect"] + ["correct"] * 3
    )
    assert verdicts["verdict_reason"].to_list()[2] == "no_answer"
    assert verdicts["verdict_reason"].to_list()[5] == "refused_hostile"


def test_scores_count_ungraded_and_truncated_beside_the_value(out):
    assert pl.read_parquet_schema(out / "scores.parquet") == SCORE
    base, trained = scores(out)["sums", "base", "pass@1"], scores(out)["sums", "trained", "pass@1"]
    assert (base["value"], base["ungraded"], base["truncated"]) == (pytest.approx(1 / 3), 0, 1)
    assert (trained["value"], trained["ungraded"], trained["truncated"]) == (pytest.approx(2 / 3), 1, 0)
    assert base["low"] < base["value"] < base["high"]


def test_several_samples_give_pass_at_k_too(out):
    assert scores(out)["halves", "base", "pass@1"]["value"] == 0.5
    assert scores(out)["halves", "base", "pass@2"]["value"] == 1.0
    assert scores(out)["halves", "base", "pass@2"]["samples"] == 2
    assert ("sums", "base", "pass@2") not in scores(out)


def test_several_samples_give_a_majority_vote_too(tmp_path):
    texts = ["\\boxed{2}", "\\boxed{2.0}", "\\boxed{3}", "none"]
    rows = [answer("sums", question, "base", texts[n], n) for question in GOLDS["sums"] for n in range(4)]
    run(PARAMS, items=write_items(tmp_path), answers=write_answers(tmp_path, *rows), out=tmp_path / "out")
    # 1+1 is right by two votes to one; 1+2 is lost by one to two; 2+2 has no right answer.
    assert scores(tmp_path / "out")["sums", "base", "maj@4"]["value"] == pytest.approx(1 / 3)
    assert pl.read_parquet(tmp_path / "out/verdicts.parquet")["answer_key"].to_list()[:4] == ["2", "2", "3", None]
    assert ("sums", "base", "maj@2") not in scores(tmp_path / "out")


def test_the_average_weighs_benchmarks_the_same(out):
    row = scores(out)["average", "base", "pass@1"]
    assert row["value"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert (row["items"], row["truncated"]) == (4, 1)
    assert json.loads((out / "metrics.json").read_text())["average"]["base"] == pytest.approx(row["value"])


def test_comparisons_are_paired_on_items(out):
    found = json.loads((out / "comparisons.json").read_text())["sums"]
    assert (found["gained"], found["lost"], found["test"], found["p_value"]) == (1, 0, "mcnemar_exact", 1.0)
    assert found["difference"] == pytest.approx(1 / 3)


def test_the_manifest_counts_rules_and_reasons(out):
    facts = json.loads((out / "manifest.json").read_text())["facts"]
    assert facts["verdicts"] == {"correct": 6, "incorrect": 3, "ungraded": 1}
    assert facts["ungraded"] == {"refused_hostile": 1}
    assert facts["truncated"] == 1


def test_score_ids_change_with_the_verdicts_only(tmp_path, out):
    items, folder = write_items(tmp_path), tmp_path / "again"
    run(PARAMS, items=items, answers=write_answers(tmp_path, *reversed(ROWS)), out=folder)
    again = {key: row["score_id"] for key, row in scores(folder).items()}
    assert again == {key: row["score_id"] for key, row in scores(out).items()}


def test_a_prompt_that_was_never_sent_is_ungraded(tmp_path):
    rows = [answer("sums", "1+1", arm, "", finish="too_long") for arm in ("base", "trained")]
    run(PARAMS, items=write_items(tmp_path), answers=write_answers(tmp_path, *rows), out=tmp_path / "out")
    verdicts = pl.read_parquet(tmp_path / "out" / "verdicts.parquet")
    assert verdicts["verdict"].to_list() == ["ungraded"] * 2
    assert verdicts["verdict_reason"].to_list() == ["prompt_too_long"] * 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no answers"),
        ([answer("sums", "no such", "base", "1")], "answers are to no known item"),
        ([ROWS[0], ROWS[4]], "answered by one arm only"),
        ([ROWS[0], ROWS[1], answer("sums", "1+1", "base", "2", 1)], "unequal numbers of answers"),
    ],
)
def test_mistakes_are_told_in_one_line_and_nothing_is_written(tmp_path, rows, message):
    with pytest.raises(LimoError, match=message):
        run(PARAMS, items=write_items(tmp_path), answers=write_answers(tmp_path, *rows), out=tmp_path / "out")
    assert not (tmp_path / "out" / "scores.parquet").exists()
