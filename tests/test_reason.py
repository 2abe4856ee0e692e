import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.params import ChatParams
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.ledger.ledger import Ledger
from tasks.reason import ReasonParams, TeacherParams, decide, run
from tasks.records.question import BANDED
from tasks.records.response import ATTEMPT, CHAIN, chain_id
from tests.builders import SHIPPED, make_model, make_question, manifest_of, write_models

SAMPLING = SamplingParams(temperature=0.7, max_tokens=40)
RIGHT, WRONG = "So \\boxed{7}.", "So \\boxed{8}."


def banded(*questions):
    rows = [one | {"solved": 2, "sampled": 32} for one in questions]
    return pl.DataFrame(rows, schema=BANDED)


def attempt(question, index, verdict, finish="stop"):
    given = dict.fromkeys(ATTEMPT) | {"teacher": "strong", "text": f"text {index}", "n_tokens": 9}
    return given | {
        "question_id": question["question_id"],
        "response_id": f"r_{index}",
        "model_id": "m_strong",
        "sample_index": index,
        "verdict": verdict,
        "finish_reason": finish,
    }


def test_only_right_and_whole_responses_become_chains():
    solved, unsolved = make_question("solved", domain="sums"), make_question("unsolved")
    rows = [
        attempt(solved, 0, "correct"),
        attempt(solved, 1, "correct", "length"),
        attempt(solved, 2, "ungraded"),
        attempt(unsolved, 3, "incorrect"),
        attempt(unsolved, 4, "ungraded", "too_long"),
    ]
    chains = decide(banded(solved, unsolved), pl.DataFrame(rows, schema={**ATTEMPT, "teacher": pl.String}))
    assert chains.kept.schema == CHAIN
    kept = chains.kept.row(0, named=True)
    assert kept["chain_id"] == chain_id(solved["question_id"], "r_0")
    assert (kept["question"], kept["answer"], kept["domain"], kept["teacher"]) == ("solved", "7", "sums", "strong")
    assert chains.rejected.select("response_id", "reason").rows() == [
        ("r_1", "truncated"),
        ("r_2", "ungraded_answer"),
        ("r_3", "wrong_answer"),
        ("r_4", "prompt_too_long"),
    ]
    assert chains.unsolved.select("question", "reason", "evidence").rows() == [
        ("unsolved", "no_right_chain", "2 responses, none right and whole")
    ]


def test_a_teacher_named_twice_is_refused():
    with pytest.raises(ValueError, match="names a teacher twice"):
        ReasonParams(teachers=(TeacherParams(model="a"), TeacherParams(model="a")))


@pytest.fixture
def stage(tmp_path):
    render = prompt_renderer(SHIPPED / "base", ChatParams())
    teachers = [TeacherParams(model=name, samples=2, sampling=SAMPLING) for name in ("strong", "other")]

    def run_on(texts):
        """`texts[question][model_id]` are the two responses."""
        banded(*map(make_question, texts)).write_parquet(tmp_path / "questions.parquet")
        for question, by_model in texts.items():
            for model_id, responses in by_model.items():
                with Ledger(tmp_path / "ledger", model_id) as ledger:
                    for index, text in enumerate(responses):
                        request = make_request(model_id, render(question), SAMPLING, index)
                        ledger.add([request.finish(text, "stop", 9, 5, 0.1)])
        run(
            ReasonParams(teachers=tuple(teachers)),
            EngineParams(),
            ChatParams(),
            questions=tmp_path / "questions.parquet",
            models=write_models(tmp_path / "models.json", make_model("strong"), make_model("other")),
            ledger=tmp_path / "ledger",
            out=tmp_path / "out",
        )
        return tmp_path / "out"

    return run_on


def test_two_teachers_from_the_ledger_alone(stage):
    out = stage(
        {
            "one?": {"m_strong": [RIGHT, WRONG], "m_other": [RIGHT, RIGHT]},
            "two?": {"m_strong": [WRONG, WRONG], "m_other": [WRONG, "no idea"]},
        }
    )
    kept = pl.read_parquet(out / "kept.parquet", schema=CHAIN)
    assert kept.select("question", "teacher", "sample_index").rows() == [
        ("one?", "strong", 0),
        ("one?", "other", 0),
        ("one?", "other", 1),
    ]
    assert pl.read_parquet(out / "unsolved.parquet")["question"].to_list() == ["two?"]
    manifest = manifest_of(out)
    assert (manifest["taken"], manifest["kept"]) == (8, 3)
    assert (manifest["facts"]["questions"], manifest["facts"]["questions_unsolved"]) == (2, 1)
    assert [facts["model"] for facts in manifest["facts"]["teachers"]] == ["strong", "other"]


def test_no_chain_at_all_is_one_line(stage):
    with pytest.raises(LimoError, match="reason: no right chain in 4 responses"):
        stage({"one?": {"m_strong": [WRONG, WRONG], "m_other": [WRONG, WRONG]}})
