import polars as pl
import pytest

from tasks.answer import AnswerParams, OverrideParams, groups_of, run
from tasks.core.errors import LimoError
from tasks.core.files import read_json
from tasks.core.params import ChatParams
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import item_prompts, prompt_renderer
from tasks.engines.protocol import make_request
from tasks.ledger.ledger import Ledger
from tasks.records.benchmark import ANSWER, ITEM, item_id
from tests.builders import SHIPPED, make_model, manifest_of, write_models

ANSWERS = AnswerParams(
    sampling=SamplingParams(temperature=0, max_tokens=40),
    benchmarks={"aime": OverrideParams(samples=2, temperature=0.6)},
)


def items_of(*pairs):
    rows = [
        {
            "item_id": item_id(benchmark, question),
            "benchmark": benchmark,
            "question": question,
            "gold": "7",
            "kind": "auto",
            "language": "en",
            "origin": "made",
        }
        for benchmark, question in pairs
    ]
    return pl.DataFrame(rows, schema=ITEM)


def test_a_benchmark_follows_its_own_protocol():
    groups = groups_of(items_of(("math", "one?"), ("aime", "two?")), ["p1", "p2"], ANSWERS)
    assert [(one.prompt, one.samples, one.sampling.temperature, one.sampling.max_tokens) for one in groups] == [
        ("p1", 1, 0, 40),
        ("p2", 2, 0.6, 40),
    ]


def test_the_papers_protocols_sample_its_small_benchmarks():
    greedy = SamplingParams(temperature=0)
    first = AnswerParams(sampling=greedy, paper="v1")
    last = AnswerParams(sampling=greedy, paper="v3", benchmarks={"AMC23": OverrideParams(samples=8)})

    def told(answer, name):
        samples, sampling = answer.protocol(name)
        return samples, sampling.temperature

    assert [told(first, name) for name in ("AIME24", "MATH500")] == [(16, 0.7), (1, 0)]
    assert [told(last, name) for name in ("CHMath", "AMC23")] == [(4, 0.6), (8, 0.6)]


def test_a_misspelt_benchmark_is_named():
    with pytest.raises(LimoError, match=r"answer.benchmarks.aime: no such benchmark; there are \['math'\]"):
        groups_of(items_of(("math", "one?")), ["p1"], ANSWERS)


def test_greedy_repeats_are_refused_and_named():
    with pytest.raises(ValueError, match="aime: 4 samples at temperature 0"):
        AnswerParams(benchmarks={"aime": OverrideParams(samples=4)})


def test_the_system_message_of_a_benchmark_takes_the_place_of_the_models():
    render = prompt_renderer(SHIPPED / "base", ChatParams(system="Think."))
    assert "Think." in render("one?")
    assert "Think." not in render("one?", "Antworte.")
    assert render("one?", "Antworte.") == render("one?").replace("Think.", "Antworte.")


def test_a_benchmarks_prompt_goes_around_its_question():
    render = prompt_renderer(SHIPPED / "base", ChatParams())
    items = items_of(("math", "one? {question}"), ("aime", "two?"))
    items = items.with_columns(prompt=pl.Series(["Solve {question} now", None]))
    assert item_prompts(render, items) == [render("Solve one? {question} now"), render("two?")]


def test_both_arms_from_the_ledger_alone(tmp_path):
    items = items_of(("math", "one?"), ("aime", "two?"), ("math", "two?"))
    items.write_parquet(tmp_path / "items.parquet")
    render = prompt_renderer(SHIPPED / "base", ChatParams())
    for model_id in ("m_base", "m_trained"):
        with Ledger(tmp_path / "ledger", model_id) as ledger:
            for row in items.iter_rows(named=True):
                samples, sampling = ANSWERS.protocol(row["benchmark"])
                for index in range(samples):
                    request = make_request(model_id, render(row["question"]), sampling, index)
                    ledger.add([request.finish(f"{model_id} {row['benchmark']} {index}", "stop", 9, 5, 0.1)])
    run(
        ANSWERS,
        EngineParams(),
        ChatParams(),
        items=tmp_path / "items.parquet",
        models=write_models(tmp_path / "models.json", make_model("base")),
        trained=write_models(tmp_path / "train" / "model.json", make_model("trained")),
        ledger=tmp_path / "ledger",
        out=tmp_path / "out",
    )
    answers = pl.read_parquet(tmp_path / "out" / "answers.parquet", schema=ANSWER)
    assert answers.select("arm", "text").rows() == [
        (arm, f"m_{arm} {sample}") for arm in ("base", "trained") for sample in ("math 0", "aime 0", "aime 1", "math 0")
    ]
    assert answers.select("item_id").unique().height == 3
    facts = manifest_of(tmp_path / "out")["facts"]
    assert facts["items"] == 3
    assert facts["arms"]["trained"]["responses"] == 4
    assert read_json(tmp_path / "progress" / "answer-trained.json")["run"]["responses_generated"] == 0
