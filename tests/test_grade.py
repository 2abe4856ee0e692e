import json

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.params import ChatParams
from tasks.engines.params import EngineParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.grade import GradeParams, run
from tasks.grading.grader import GRADER
from tasks.grading.judge import Case, prompt
from tasks.ledger.ledger import Ledger
from tasks.records.benchmark import ANSWER, ITEM, JUDGEMENT, SCORE, VERDICT, item_id
from tasks.sampling.judge import JudgeParams
from tests.builders import SHIPPED, make_model, manifest_of, write_models

PARAMS = GradeParams(resamples=200)
GOLDS = {"sums": {"1+1": "2", "1+2": "3", "2+2": "4"}, "halves": {"1/2 as a root": "\\frac{1}{\\sqrt{4}}"}}


def write_items(tmp_path):
    rows = [
        (item_id(benchmark, question), benchmark, question, gold, "auto", "en", "made", *[None] * 5)
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


def grade_all(folder, params, items, answers, out="out"):
    run(
        params,
        EngineParams(),
        ChatParams(),
        items=items,
        answers=answers,
        models=write_models(folder / "models.json", make_model("base", SHIPPED / "base")),
        ledger=folder / "ledger",
        out=folder / out,
    )


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
    grade_all(folder, PARAMS, write_items(folder), write_answers(folder, *ROWS))
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


def test_scores_count_ungraded_and_truncated_next_to_the_value(out):
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
    grade_all(tmp_path, PARAMS, write_items(tmp_path), write_answers(tmp_path, *rows))
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
    facts = manifest_of(out)["facts"]
    assert facts["verdicts"] == {"correct": 6, "incorrect": 3, "ungraded": 1}
    assert facts["ungraded"] == {"refused_hostile": 1}
    assert facts["truncated"] == 1


def test_score_ids_change_with_the_verdicts_only(tmp_path, out):
    items, folder = write_items(tmp_path), tmp_path / "again"
    grade_all(tmp_path, PARAMS, items, write_answers(tmp_path, *reversed(ROWS)), out="again")
    again = {key: row["score_id"] for key, row in scores(folder).items()}
    assert again == {key: row["score_id"] for key, row in scores(out).items()}


def test_a_prompt_that_was_never_sent_is_ungraded(tmp_path):
    rows = [answer("sums", "1+1", arm, "", finish="too_long") for arm in ("base", "trained")]
    grade_all(tmp_path, PARAMS, write_items(tmp_path), write_answers(tmp_path, *rows))
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
def test_an_error_is_one_line_and_nothing_is_written(tmp_path, rows, message):
    with pytest.raises(LimoError, match=message):
        grade_all(tmp_path, PARAMS, write_items(tmp_path), write_answers(tmp_path, *rows))
    assert not (tmp_path / "out" / "scores.parquet").exists()


JUDGE = JudgeParams(model="base")
OPEN = "\\boxed{9^{9^{9^{9}}}}"


def judged(tmp_path, says, finish="stop"):
    """What `run` writes when the judge's response to the one open answer is already in its ledger."""
    items, rows = write_items(tmp_path), [answer("sums", "2+2", arm, OPEN) for arm in ("base", "trained")]
    case = Case("2+2", "4", "9^{9^{9^{9}}}")
    text = prompt_renderer(SHIPPED / "base", ChatParams(system=None))(prompt(case))
    with Ledger(tmp_path / "ledger", "m_base") as ledger:
        ledger.add([make_request("m_base", text, JUDGE.sampling, 0).finish(says, finish, 9, 5, 0.1)])
    grade_all(tmp_path, PARAMS.model_copy(update={"judge": JUDGE}), items, write_answers(tmp_path, *rows))
    return tmp_path / "out"


@pytest.mark.parametrize(("word", "verdict"), [("CORRECT", "correct"), ("INCORRECT", "incorrect")])
def test_a_judge_decides_what_is_open_once_an_answer(tmp_path, word, verdict):
    out = judged(tmp_path, f"Compared.\n{word}")
    judgements = pl.read_parquet(out / "judgements.parquet")
    assert judgements.schema == JUDGEMENT
    assert judgements.select("verdict", "text", "model_id").rows() == [(verdict, f"Compared.\n{word}", "m_base")]
    rows = pl.read_parquet(out / "verdicts.parquet").to_dicts()
    assert [(row["verdict"], row["rule"]) for row in rows] == [(verdict, "judge")] * 2
    assert {row["judge_response_id"] for row in rows} == set(judgements["response_id"])
    assert all(row["grader"].startswith(f"{GRADER} + judge m_base+") for row in rows)
    assert scores(out)["sums", "base", "pass@1"]["grader"] == rows[0]["grader"]
    assert manifest_of(out)["facts"]["judge"]["model"] == "base"


def test_a_judge_without_a_verdict_leaves_it_ungraded(tmp_path):
    out = judged(tmp_path, "It is not CORRECT, I think")
    rows = pl.read_parquet(out / "verdicts.parquet").to_dicts()
    assert [(row["verdict"], row["verdict_reason"]) for row in rows] == [("ungraded", "judge_undecided")] * 2
    assert rows[0]["judge_response_id"] is not None


def test_the_ids_of_verdicts_and_scores_change_with_the_judge_only_where_it_was_asked(tmp_path, out):
    plain = pl.read_parquet(out / "verdicts.parquet")
    path = tmp_path / "alone"
    path.mkdir()
    asked = pl.read_parquet(judged(path, "CORRECT") / "verdicts.parquet")
    changed = asked.join(plain, on=["response_id", "item_id"])
    assert changed.filter(pl.col("verdict_id") == pl.col("verdict_id_right")).is_empty()
    assert plain["judge_response_id"].null_count() == plain.height


def test_a_judge_that_is_no_model_is_named(tmp_path):
    params = PARAMS.model_copy(update={"judge": JudgeParams(model="jury")})
    with pytest.raises(LimoError, match="grade.judge.model"):
        grade_all(tmp_path, params, write_items(tmp_path), write_answers(tmp_path, *ROWS))


def test_an_answer_in_the_words_of_an_option_is_its_letter(tmp_path):
    question = "How many?\n\nA. 10\nB. 12\nC. 14\nD. 16"
    row = (item_id("GPQA", question), "GPQA", question, "B", "choice", "en", "made", *[None] * 5)
    pl.DataFrame([row], schema=ITEM, orient="row").write_parquet(tmp_path / "items.parquet")
    texts = ["So \\boxed{12}", "So \\boxed{14}", "So \\boxed{B}", "So \\boxed{12}"]
    ends = ["stop", "stop", "stop", "length"]
    rows = [
        answer("GPQA", question, arm, text, sample, finish)
        for sample, (text, finish) in enumerate(zip(texts, ends, strict=True))
        for arm in ("base", "trained")
    ]
    grade_all(tmp_path, PARAMS, tmp_path / "items.parquet", write_answers(tmp_path, *rows))
    verdicts = pl.read_parquet(tmp_path / "out/verdicts.parquet").filter(arm="base")
    assert verdicts["verdict"].to_list() == ["correct", "incorrect", "correct", "correct"]
    assert verdicts["extracted"].to_list() == ["B", "C", "B", "B"]
    assert verdicts["answer_key"].to_list() == ["B", "C", "B", "B"]
