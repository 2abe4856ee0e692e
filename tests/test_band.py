import json

import polars as pl
import pytest

from tasks.band import BandParams, certain, decide, run
from tasks.core.params import ChatParams
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.ledger.ledger import Ledger
from tasks.records.question import BANDED, QUESTION
from tasks.records.response import ATTEMPT, TOO_LONG
from tests.builders import SHIPPED, make_model, make_question, manifest_of, write_models

SAMPLING = SamplingParams(temperature=0.7, max_tokens=40)


def frame(*questions):
    return pl.DataFrame(questions, schema=QUESTION)


def attempts_of(question, correct, count, finish="stop"):
    given = dict.fromkeys(ATTEMPT)
    return [
        given
        | {
            "question_id": question["question_id"],
            "response_id": f"{question['question_id']}-{index}",
            "sample_index": index,
            "verdict": "correct" if index < correct else "incorrect",
            "finish_reason": finish,
        }
        for index in range(count)
    ]


@pytest.mark.parametrize(
    ("correct", "count", "reason"),
    [(0, 32, "never_solved"), (1, 32, None), (3, 32, None), (4, 9, "solved_too_often"), (32, 32, "solved_too_often")],
)
def test_the_band_of_the_paper(correct, count, reason):
    question = make_question("some")
    attempts = pl.DataFrame(attempts_of(question, correct, count), schema=ATTEMPT)
    row = decide(frame(question), attempts, BandParams()).row(0, named=True)
    assert (row["reason"], row["solved"], row["sampled"]) == (reason, correct, count)
    assert json.loads(row["evidence"]) == {"solved": correct, "sampled": count}


def test_solved_but_too_seldom_and_too_long_have_their_own_reasons():
    seldom, endless = make_question("seldom"), make_question("endless")
    rows = attempts_of(seldom, 1, 32) + attempts_of(endless, 0, 1, TOO_LONG)
    decided = decide(frame(seldom, endless), pl.DataFrame(rows, schema=ATTEMPT), BandParams(min_solved=2))
    assert decided["reason"].to_list() == ["solved_too_seldom", "prompt_too_long"]


def test_certain_at_the_fourth_right_one_or_when_too_few_are_left():
    band = BandParams(min_solved=2)
    assert not certain(3, 20, band=band)
    assert certain(4, 20, band=band)
    assert not certain(0, 30, band=band)
    assert certain(0, 31, band=band)
    assert not certain(4, 20, band=BandParams(adaptive=False))


def test_an_impossible_band_is_refused():
    with pytest.raises(ValueError, match="min_solved <= max_solved <= samples"):
        BandParams(min_solved=4)


def test_a_run_from_the_ledger_alone(tmp_path):
    band = BandParams(model="base", samples=4, max_solved=1, sampling=SAMPLING)
    right, wrong = "So \\boxed{7}.", "So \\boxed{8}."
    answers = {"easy?": [right, right], "middling?": [wrong, right, wrong, wrong], "hard?": [wrong] * 4}
    frame(*map(make_question, answers)).write_parquet(tmp_path / "questions.parquet")
    render = prompt_renderer(SHIPPED / "base", ChatParams())
    with Ledger(tmp_path / "ledger", "m_base") as ledger:
        for question, texts in answers.items():
            for index, text in enumerate(texts):
                ledger.add([make_request("m_base", render(question), SAMPLING, index).finish(text, "stop", 9, 5, 0.1)])
    run(
        band,
        EngineParams(),
        ChatParams(),
        questions=tmp_path / "questions.parquet",
        models=write_models(tmp_path / "models.json", make_model("base")),
        ledger=tmp_path / "ledger",
        out=tmp_path / "out",
    )
    kept = pl.read_parquet(tmp_path / "out/kept.parquet", schema=BANDED)
    assert kept.select("question", "solved", "sampled").rows() == [("middling?", 1, 4)]
    manifest = manifest_of(tmp_path / "out")
    assert manifest["rejected"] == {"never_solved": 1, "solved_too_often": 1}
    assert manifest["facts"]["tokens_saved"] == 10
    assert pl.read_parquet(tmp_path / "out/attempts.parquet", schema=ATTEMPT).height == 10
