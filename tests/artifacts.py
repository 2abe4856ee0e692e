"""A whole small run's artifacts, consistent in every id, written by the schemas of the records."""

import json
import random
import shutil

import polars as pl

from tasks.manifest import count_reasons, write_manifest
from tasks.records.benchmark import ANSWER, ITEM, SCORE, VERDICT, item_id, score_id, verdict_id
from tasks.records.chain import CHAIN, SAMPLE, chain_id
from tasks.records.ids import content_id
from tasks.records.question import BANDED, QUESTION
from tasks.records.response import ATTEMPT
from tasks.score import ScoreParams, score_chains
from tasks.select import SelectParams, select_samples
from tasks.tracing.store import connected
from tests.builders import make_model, make_question, write_models

GRADER = "limo-grader 1"
WORDS = ["we", "check", "that", "3", "+", "4", "since", "it", "might", "be", "perhaps", "therefore", "we", "verify"]
REJECTED = {"reason": pl.String, "evidence": pl.String}


def write_run(root, *, questions=40, items=10, samples=4):
    """All stages' artifacts under `root`; `root` itself is returned."""
    draw = random.Random(7)
    pool = [_question(number) for number in range(questions)]
    _write_base(root)
    _write_items(root, items)
    pool = _filter(root, "pull", pool, lambda row: None)
    pool = _filter(root, "clean", pool, lambda row: "no_answer" if row["answer"] is None else None)
    pool = _filter(root, "decontaminate", pool, lambda row: "ngram" if row["answer"] == "3" else None)
    pool = _write_screen(root, pool)
    banded = _write_band(root, pool, draw)
    chains = _write_reason(root, banded, draw)
    scored = score_chains(chains, ScoreParams(full_length=200))
    _write(root / "score", "score", {"chains": scored}, scored.height, scored.height, {"seconds": 0.1})
    decided = select_samples(scored, SelectParams(count=4))
    kept = decided.filter(pl.col("reason").is_null()).select(SAMPLE.names())
    rejected = decided.filter(pl.col("reason").is_not_null())
    _write(root / "select", "select", {"kept": kept, "rejected": rejected}, decided.height, kept.height, {}, rejected)
    _write_train(root, kept)
    _write_answers(root, samples, draw)
    return root


def write_store(root, factory):
    """An empty MLflow store for the artifacts folder `root`; made once a session, since that takes ten seconds."""
    template = factory.getbasetemp() / "mlflow.db"
    if not template.exists():
        with connected(factory.mktemp("store")) as client:
            client.search_experiments()
            made = client.tracking_uri.removeprefix("sqlite:///")
        shutil.copy(made, template)
    (root / "mlflow").mkdir(parents=True)
    shutil.copy(template, root / "mlflow" / "mlflow.db")


def _question(number):
    answer = None if number % 10 == 9 else str(number)
    made = make_question(f"What is {number} + 0?", answer, domain=f"d{number % 3}", level="1", origin=f"made:{number}")
    return made.model_dump()


def _write_base(root):
    models = [make_model("base", model_id="m_base"), make_model("teacher", model_id="m_teacher", parameters=9)]
    write_models(root / "base" / "models.json", *models)
    write_manifest(root / "base", "base", taken=2, kept=2, rejected={})


def _write_items(root, count):
    rows = []
    for benchmark in ("aime24", "sums"):
        for number in range(count):
            question = f"{benchmark}: add {number} and 1"
            rows.append(
                {"item_id": item_id(benchmark, question), "benchmark": benchmark, "question": question}
                | {"gold": str(number + 1), "kind": "auto", "language": "en", "origin": f"{benchmark}:{number}"}
            )
    table = pl.DataFrame(rows, schema=ITEM)
    empty = pl.DataFrame(schema={**ITEM, **REJECTED})
    _write(root / "benchmarks", "benchmarks", {"items": table, "rejected": empty}, len(rows), len(rows), {})


def _filter(root, stage, rows, decide, schema=QUESTION, tables=None, facts=None):
    decided = [(row, decide(row)) for row in rows]
    kept = [row for row, reason in decided if reason is None]
    rejected = [row | {"reason": reason, "evidence": f"because of {stage}"} for row, reason in decided if reason]
    rejects = pl.DataFrame(rejected, schema={**schema, **REJECTED})
    written = {"kept": pl.DataFrame(kept, schema=schema), "rejected": rejects} | (tables or {})
    _write(root / stage, stage, written, len(rows), len(kept), facts or {"seconds": 0.2}, rejects)
    return kept


def _attempt(stage, row, model, index, right, text="so \\boxed{1}"):
    verdict = "correct" if right else "incorrect"
    return {
        "question_id": row["question_id"],
        "response_id": content_id("r", stage, row["question_id"], model, index),
        "model_id": model,
        "sample_index": index,
        "verdict": verdict,
        "extracted": "1",
        "rule": "integer",
        "verdict_reason": None,
        "finish_reason": "stop",
        "n_tokens": 20 + index,
        "text": text,
    }


def _write_screen(root, rows):
    solved = {row["question_id"] for row in rows[::3]}
    attempts = [
        _attempt("screen", row, "m_base", index, row["question_id"] in solved)
        for row in rows
        for index in range(1 if row["question_id"] in solved else 4)
    ]
    table = {"attempts": pl.DataFrame(attempts, schema=ATTEMPT)}
    facts = {"responses": 104, "tokens": 2000, "tokens_saved": 500, "seconds": 1.5}
    reasons = dict.fromkeys(solved, "solved")
    return _filter(root, "screen", rows, lambda row: reasons.get(row["question_id"]), QUESTION, table, facts)


def _write_band(root, rows, draw):
    solved = {row["question_id"]: draw.choice([0, 1, 1, 2, 2, 3, 4]) for row in rows}
    attempts, banded = [], []
    for row in rows:
        times = solved[row["question_id"]]
        sampled = 9 if times == 4 else 32
        right = {draw.randrange(sampled) for _ in range(times)}
        attempts += [_attempt("band", row, "m_teacher", index, index in right) for index in range(sampled)]
        banded.append(row | {"solved": times, "sampled": sampled})
    reasons = {0: "never_solved", 4: "solved_too_often"}
    table = {"attempts": pl.DataFrame(attempts, schema=ATTEMPT)}
    facts = {"responses": 713, "tokens": 9000, "tokens_saved": 1500, "seconds": 4.5}
    return _filter(root, "band", banded, lambda row: reasons.get(row["solved"]), BANDED, table, facts)


def _write_reason(root, rows, draw):
    chains, wrong = [], []
    for row in rows:
        for index in range(3):
            text = " ".join(draw.choices(WORDS, k=draw.randrange(30, 200)))
            attempt = _attempt("reason", row, "m_teacher", index, index < 2, text)
            if index == 2:
                wrong.append(attempt | {"reason": "incorrect", "evidence": "1"})
                continue
            chain = {name: attempt[name] for name in ("question_id", "response_id", "model_id", "sample_index", "text")}
            chain |= {name: row[name] for name in ("question", "answer", "domain")}
            chain["chain_id"] = chain_id(row["question_id"], attempt["response_id"])
            chains.append(chain | {"teacher": "teacher", "n_tokens": len(text.split())})
    tables = {
        "kept": pl.DataFrame(chains, schema=CHAIN),
        "rejected": pl.DataFrame(wrong, schema={**ATTEMPT, **REJECTED}),
        "unsolved": pl.DataFrame(schema={**BANDED, **REJECTED}),
    }
    taken = len(chains) + len(wrong)
    _write(
        root / "reason",
        "reason",
        tables,
        taken,
        len(chains),
        {"teachers": [{"responses": taken, "tokens": 4000, "tokens_saved": 0, "seconds": 3.0}]},
        tables["rejected"],
    )
    return tables["kept"]


def _write_train(root, kept):
    trained = make_model("trained", path=root / "train" / "model", model_id="m_trained", origin="trained")
    write_models(root / "train" / "model.json", trained)
    (root / "train" / "model").mkdir()
    (root / "train" / "model" / "config.json").write_text("{}")
    steps = {"step": [1, 2, 3], "epoch": [0.5, 1.0, 1.5], "loss": [2.0, 1.0, 0.5], "lr": [1e-5, 5e-6, 0.0]}
    facts = {"base_model_id": "m_base", "tokens": 600, "seconds": 9.0}
    tables = {"steps": pl.DataFrame(steps), "rejected": kept.clear().with_columns(reason=None, evidence=None)}
    _write(root / "train", "train", tables, kept.height, kept.height, facts)


def _write_answers(root, samples, draw):
    items = pl.read_parquet(root / "benchmarks" / "items.parquet")
    answers, verdicts = [], []
    for arm, model, luck in (("base", "m_base", 0.2), ("trained", "m_trained", 0.8)):
        for item in items.iter_rows(named=True):
            for index in range(samples):
                right = draw.random() < luck
                extracted = item["gold"] if right else "0"
                answer = {"item_id": item["item_id"], "benchmark": item["benchmark"], "arm": arm, "model_id": model}
                answer["response_id"] = content_id("r", model, item["item_id"], index)
                answer |= {"sample_index": index, "finish_reason": "stop", "n_tokens": draw.randrange(5, 90)}
                answers.append(answer | {"text": f"<b>It</b> is \\boxed{{{extracted}}}"})
                verdict = {"verdict_id": verdict_id(answer["response_id"], item["item_id"], GRADER)}
                verdict |= {"verdict": "correct" if right else "incorrect", "extracted": extracted, "rule": "integer"}
                verdicts.append(answer | verdict | {"verdict_reason": None, "grader": GRADER})
    answered, graded = pl.DataFrame(answers, schema=ANSWER), pl.DataFrame(verdicts, schema=VERDICT)
    drawn = {"responses": len(answers) // 2, "tokens": 3500, "tokens_saved": 0, "seconds": 1.0}
    facts = {"arms": {"base": drawn, "trained": drawn}}
    _write(root / "answer", "answer", {"answers": answered}, len(answers), len(answers), facts)
    _write_scores(root, graded, samples)


def _write_scores(root, graded, samples):
    rows = []
    for (benchmark, arm, model), group in graded.group_by("benchmark", "arm", "model_id", maintain_order=True):
        value = (group["verdict"] == "correct").mean()
        score = {"benchmark": benchmark, "arm": arm, "model_id": model, "metric": "pass@1", "value": value}
        score |= {"low": max(0.0, value - 0.1), "high": min(1.0, value + 0.1), "samples": samples, "grader": GRADER}
        score |= {"items": group["item_id"].n_unique(), "ungraded": 0, "truncated": 0}
        score["score_id"] = score_id(benchmark, model, "pass@1", GRADER, group["verdict_id"].to_list())
        rows.append(score | {"mean_tokens": group["n_tokens"].mean()})
    for arm, model in (("base", "m_base"), ("trained", "m_trained")):
        average = next(row for row in rows if row["arm"] == arm) | {"benchmark": "average"}
        ids = graded.filter(arm=arm)["verdict_id"].to_list()
        rows.append(average | {"score_id": score_id("average", model, "pass@1", GRADER, ids)})
    scores = pl.DataFrame(rows, schema=SCORE)
    tables = {"verdicts": graded, "scores": scores}
    _write(root / "grade", "grade", tables, graded.height, graded.height, {"seconds": 0.5})
    compared = {
        name: {"base": 0.2, "trained": 0.8, "difference": 0.6, "low": 0.4, "high": 0.8, "p_value": 0.001}
        | {"test": "paired bootstrap", "gained": 7, "lost": 1, "items": 10}
        for name in ("aime24", "sums")
    }
    (root / "grade" / "comparisons.json").write_text(json.dumps(compared))
    (root / "grade" / "metrics.json").write_text("{}")


def _write(folder, stage, tables, taken, kept, facts, rejected=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    reasons = count_reasons(rejected) if rejected is not None else {}
    write_manifest(folder, stage, taken=taken, kept=kept, rejected=reasons, facts=facts)
