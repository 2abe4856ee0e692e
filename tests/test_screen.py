import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import read_json
from tasks.core.params import ChatParams
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.ledger.ledger import Ledger
from tasks.records.question import QUESTION
from tasks.records.response import ATTEMPT, TOO_LONG
from tasks.screen import SOLVED, ScreenParams, certain, decide, run
from tests.builders import SHIPPED, make_model, make_question, manifest_of, write_models

SAMPLING = SamplingParams(temperature=0.7, max_tokens=40)
SCREEN = ScreenParams(model="base", attempts=3, sampling=SAMPLING)


def frame(*questions):
    return pl.DataFrame(questions, schema=QUESTION)


def attempt(question, index, verdict, finish="stop"):
    given = dict.fromkeys(ATTEMPT)
    return given | {
        "question_id": question["question_id"],
        "response_id": f"r_{index}",
        "sample_index": index,
        "verdict": verdict,
        "finish_reason": finish,
    }


def test_solved_goes_out_with_the_response_and_unsolved_stays():
    easy, hard, endless = (make_question(text) for text in ("easy", "hard", "endless"))
    attempts = pl.DataFrame(
        [
            attempt(easy, 0, "incorrect"),
            attempt(easy, 1, "correct"),
            *(attempt(hard, index, verdict) for index, verdict in enumerate(["incorrect", "ungraded", "incorrect"])),
            attempt(endless, 0, "ungraded", TOO_LONG),
        ],
        schema=ATTEMPT,
    )
    decided = decide(frame(hard, easy, endless), attempts)
    assert decided.select("question", "reason", "evidence").rows() == [
        ("hard", None, None),
        ("easy", SOLVED, "r_1"),
        ("endless", "prompt_too_long", None),
    ]


def test_one_right_attempt_decides():
    assert certain(1, 1)
    assert not certain(0, 3)


def test_greedy_attempts_would_all_be_the_same():
    with pytest.raises(ValueError, match="all the same"):
        ScreenParams(sampling=SamplingParams(temperature=0))
    assert ScreenParams(attempts=1, sampling=SamplingParams(temperature=0)).attempts == 1


@pytest.fixture
def stage(tmp_path):
    """The files of a stage whose ledger holds every response: `answers` gives the texts of each question."""
    render = prompt_renderer(SHIPPED / "base", ChatParams())

    def lay_out(answers):
        questions = [make_question(text) for text in answers]
        frame(*questions).write_parquet(tmp_path / "questions.parquet")
        with Ledger(tmp_path / "ledger", "m_base") as ledger:
            for question, texts in answers.items():
                for index, text in enumerate(texts):
                    request = make_request("m_base", render(question), SAMPLING, index)
                    ledger.add([request.finish(text, "stop", 20, 5, 0.1)])
        return {
            "questions": tmp_path / "questions.parquet",
            "models": write_models(tmp_path / "models.json", make_model("base")),
            "ledger": tmp_path / "ledger",
            "out": tmp_path / "out",
        }

    return lay_out


def test_a_run_from_the_ledger_alone(stage):
    right, wrong = "So \\boxed{7}.", "So \\boxed{8}."
    paths = stage({"easy?": [wrong, right, right], "hard?": [wrong, "no idea", wrong]})
    run(SCREEN, EngineParams(), ChatParams(), **paths)
    out = paths["out"]
    assert pl.read_parquet(out / "kept.parquet", schema=QUESTION)["question"].to_list() == ["hard?"]
    rejected = pl.read_parquet(out / "rejected.parquet")
    attempts = pl.read_parquet(out / "attempts.parquet", schema=ATTEMPT)
    assert rejected.select("question", "reason").rows() == [("easy?", SOLVED)]
    assert rejected["evidence"].item() in attempts.filter(verdict="correct")["response_id"]
    assert attempts["sample_index"].to_list() == [0, 1, 0, 1, 2]
    facts = manifest_of(out)["facts"]
    ran = read_json(out.parent / "progress/screen.json")["run"]
    assert (ran["responses_from_ledger"], ran["responses_generated"]) == (5, 0)
    assert facts["responses"] == 5
    assert facts["samples_not_drawn"] == 1


def test_nothing_left_is_one_line_and_writes_nothing(stage):
    paths = stage({"easy?": ["So \\boxed{7}."] * 3})
    with pytest.raises(LimoError, match=r"screen: no row is left of 1 \(1 solved_by_weak_model\)"):
        run(SCREEN, EngineParams(), ChatParams(), **paths)
    assert not paths["out"].exists()


def test_an_unknown_model_names_its_key(stage):
    paths = stage({"easy?": []})
    with pytest.raises(LimoError, match=r"screen.model: no model `weak`"):
        run(ScreenParams(), EngineParams(), ChatParams(), **paths)
