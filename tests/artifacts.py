"""A whole small run's artifacts, consistent in every id, written by the schemas of the records."""

import json
import os
import random
import shutil
from functools import cache
from importlib import import_module
from pathlib import Path

import polars as pl

from tasks import band, decontaminate, reason, screen
from tasks.core.files import publish, write_json
from tasks.core.filter import WHY, FilterWriter
from tasks.core.stage import count_reasons, stage_entries, write_manifest
from tasks.records.benchmark import ANSWER, ITEM, JUDGEMENT, VERDICT, item_id, verdict_id
from tasks.records.ids import content_id
from tasks.records.question import CLEANED, CLUSTER, HIT, LEAK, QUESTION
from tasks.records.response import ATTEMPT, SAMPLE
from tasks.score import ScoreParams, score_chains
from tasks.scoring.scores import Resampling, metrics, score
from tasks.select import SelectParams, select_samples
from tasks.text.ngrams import OverlapRule, RuleCounts, rejections
from tasks.tracking.store import mlflow_client
from tasks.training.log import SAMPLE_LOSS
from tests.builders import make_model, make_question, write_models
from tests.closure import stage_module

GRADER = "limo-grader 1"
DVC_FILE = Path(__file__).parents[1] / "dvc.yaml"
SCORING = ScoreParams(full_length=200)
WORDS = ["we", "check", "that", "3", "+", "4", "since", "it", "might", "be", "perhaps", "therefore", "we", "verify"]
SHARED = "sums: what is $3 + 0$, and 1 more?"

DUPLICATES = [
    make_question(text, answer, source="other", origin=f"other.jsonl:{row}")
    for row, (text, answer) in enumerate(
        [("What is $0 + 0$?", "0"), ("So what is 1 + 0 then?", "1"), ("So what is 1 + 0?", "2")], start=1
    )
]
"""Of another source: the first question typeset, the second reworded, and that again with another answer."""


def write_run(root, *, questions=40, items=10, samples=4):
    """All stages' artifacts under `root`; `root` itself is returned."""
    draw = random.Random(7)
    pool = [_question(number) for number in range(questions)]
    _write_base(root)
    _write_items(root, items)
    pool = _write_pull(root, pool)
    pool = _write_clean(root, pool)
    pool = _write_decontaminate(root, pool)
    scored = score_chains(_write_reason(root, _write_band(root, _write_screen(root, pool), draw), draw), SCORING)
    _write(root, "score", {"chains": scored}, scored.height, scored.height, {})
    _write_train(root, _write_select(root, scored))
    _write_answers(root, samples, draw)
    return root


def write_store(root, factory):
    """An empty MLflow store for the artifacts folder `root`; made once a session, since that takes ten seconds."""
    session = factory.getbasetemp()
    # Parallel test processes have their folders side by side in that of the session.
    template = (session.parent if "PYTEST_XDIST_WORKER" in os.environ else session) / "mlflow.db"
    if not template.exists():
        with mlflow_client(factory.mktemp("store")) as client:
            client.search_experiments()
            made = client.tracking_uri.removeprefix("sqlite:///")
        # In one step, since another process may look for it meanwhile.
        Path(made).rename(template)
    (root / "mlflow").mkdir(parents=True)
    shutil.copy(template, root / "mlflow" / "mlflow.db")


def _question(number):
    answer = None if number % 10 == 9 else str(number)
    return make_question(f"What is {number} + 0?", answer, domain=f"d{number % 3}", level="1", origin=f"made:{number}")


def _write_base(root):
    models = [make_model("base", model_id="m_base"), make_model("teacher", model_id="m_teacher", parameters=9)]
    write_models(root / "base" / "models.json", *models)
    _write(root, "base", {}, 2, 2, {})


def _write_items(root, count):
    rows = []
    for benchmark in ("aime24", "sums"):
        for number in range(count):
            question = SHARED if (benchmark, number) == ("sums", 3) else f"{benchmark}: add {number} and 1"
            rows.append(
                {"item_id": item_id(benchmark, question), "benchmark": benchmark, "question": question}
                | {"gold": str(number + 1), "kind": "auto", "language": "en", "origin": f"{benchmark}:{number}"}
            )
    table = pl.DataFrame(rows, schema=ITEM)
    empty = pl.DataFrame(schema={**ITEM, **WHY})
    _write(root, "benchmarks", {"items": table, "rejected": empty}, len(rows), len(rows), {})


def _write_pull(root, pool):
    facts = {
        "made": {"rows": len(pool), "taken": len(pool), "kept": len(pool), "rejected": {}, "license": "cc0-1.0"},
        "other": {"rows": 4, "taken": 4, "kept": 3, "rejected": {"repeated_row": 1}, "license": "mit"},
    }
    again = DUPLICATES[0] | {"origin": "other.jsonl:9"}
    rows = [*pool, *DUPLICATES, again]
    seen = {"other.jsonl:9": ("repeated_row", "other.jsonl:1")}
    return _filter(root, "pull", rows, lambda row: seen.get(row["origin"]), facts={"sources": facts})


def _write_clean(root, pool):
    """Three duplicates of the first two questions go; the question of 5 stays, though it has another answer than 4."""
    first, second, fourth, fifth = (pool[number] for number in (0, 1, 4, 5))
    exact, near, other = DUPLICATES
    clusters = [
        *(_member("k_0", first, row, form, 1.0) for row, form in ((first, "representative"), (exact, "exact"))),
        _member("k_1", second, second, "representative", 1.0),
        *(_member("k_1", second, row, "near", 0.84) for row in (near, other)),
        _member("k_4", fourth, fourth, "representative", 1.0),
        _member("k_4", fourth, fifth, "near", 0.8),
    ]
    told = [(exact, "exact_duplicate", 0), (near, "near_duplicate", 3), (other, "answers_disagree", 4)]
    reasons = {row["question_id"]: (reason, _duplicate_evidence(clusters[at])) for row, reason, at in told}
    pool = [row | {"language": "en"} for row in pool]
    tables = {"clusters": pl.DataFrame(clusters, schema=CLUSTER)}

    def decide(row):
        return "no_verifiable_answer" if row["answer"] is None else reasons.get(row["question_id"])

    return _filter(root, "clean", pool, decide, tables)


def _member(cluster, representative, row, form, similarity):
    named = {"cluster_id": cluster, "question_id": row["question_id"], "representative": representative["question_id"]}
    agrees = row["answer"] == representative["answer"]
    return named | {"form": form, "similarity": similarity, "answer": row["answer"], "agrees": agrees}


def _duplicate_evidence(member):
    told = {"question_id": member["representative"], "similarity": member["similarity"]}
    return json.dumps(told | {"cluster_id": member["cluster_id"]})


def _write_decontaminate(root, pool):
    """The question of 3 stands in a benchmark by one rule, which drops it; another rule reports it and that of 13."""
    dropped, reported = (next(row for row in pool if row["answer"] == answer) for answer in ("3", "13"))
    items = {row["question"]: row for row in pl.read_parquet(root / "benchmarks" / "items.parquet").to_dicts()}
    shared, added = items[SHARED], items["aime24: add 3 and 1"]
    hits = [
        _hit(dropped, "ngram", shared, "What is 3 + 0", 0.8, True),
        _hit(dropped, "containment", added, "3 + 0", 0.5, False),
        _hit(reported, "containment", shared, "What is", 0.4, False),
    ]
    table, questions = pl.DataFrame(hits, schema=HIT), pl.DataFrame(pool, schema=CLEANED)
    rules = [OverlapRule(name="ngram"), OverlapRule(name="containment", drops=False)]
    counts = RuleCounts(rules, "question_id", "questions")
    counts.add(table)
    decided = questions.join(rejections(table, "question_id", decontaminate.REASON), on="question_id", how="left")
    kept = _write_filter(root, "decontaminate", decided, {"hits": table}, {"rules": counts.facts()})
    return kept.select(QUESTION.names())


def _hit(row, rule, item, match, share, drops):
    named = {"question_id": row["question_id"], "rule": rule, "benchmark": item["benchmark"]}
    return named | {"item_id": item["item_id"], "match": match, "share": share, "drops": drops}


def _write_select(root, scored):
    """The last of the rejected chains holds a benchmark item."""
    params = SelectParams(count=4)
    item = pl.read_parquet(root / "benchmarks" / "items.parquet").row(0, named=True)
    chain = select_samples(scored, params).row(-1, named=True)
    hit = _hit(chain, "ngram", item, "add 0 and 1", 0.75, True)
    leaks = pl.DataFrame([hit | {"chain_id": chain["chain_id"]}], schema=LEAK)
    return _write_filter(root, "select", select_samples(scored, params, leaks), {"leaks": leaks}).select(SAMPLE.names())


def _filter(root, stage, rows, decide, tables=None, facts=None):
    """Write a filter of questions; `decide` gives None, a reason, or a reason with its evidence."""
    decided = []
    for row in rows:
        why = decide(row)
        why, shown = why if isinstance(why, tuple) else (why, why and f"because of {stage}")
        decided.append(row | {"reason": why, "evidence": shown})
    schema = QUESTION if stage == "pull" else CLEANED
    return _write_filter(root, stage, pl.DataFrame(decided, schema={**schema, **WHY}), tables, facts).to_dicts()


def _write_filter(root, stage, decided, tables=None, facts=None):
    """The tables and the manifest of a filter; gives the kept rows."""
    with publish(root / stage) as part:
        for name, table in (tables or {}).items():
            table.write_parquet(part / f"{name}.parquet")
        writer = FilterWriter(part, _own(stage), decided.drop(*WHY).schema, _takes(stage))
        writer.add(decided)
        writer.close(facts)
    return pl.read_parquet(root / stage / "kept.parquet")


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


def _write_screen(root, questions):
    attempts = [
        _attempt("screen", row, "m_base", index, number % 3 == 0)
        for number, row in enumerate(questions.iter_rows(named=True))
        for index in range(1 if number % 3 == 0 else 4)
    ]
    table = pl.DataFrame(attempts, schema=ATTEMPT)
    facts = {"responses": 104, "samples_not_drawn": 36, "tokens": 2000, "tokens_saved": 500, "seconds": 1.5}
    decided = screen.decide(questions, table)
    return _write_filter(root, "screen", decided, {"attempts": table}, facts)


def _write_band(root, questions, draw):
    solved = [draw.choice([0, 1, 1, 2, 2, 3, 4]) for _ in range(questions.height)]
    attempts = []
    for row, times in zip(questions.iter_rows(named=True), solved, strict=True):
        sampled = 9 if times == 4 else 32
        right = draw.sample(range(sampled), times)
        attempts += [_attempt("band", row, "m_teacher", index, index in right) for index in range(sampled)]
    table = pl.DataFrame(attempts, schema=ATTEMPT)
    facts = {"responses": 713, "samples_not_drawn": 23, "tokens": 9000, "tokens_saved": 1500, "seconds": 4.5}
    return _write_filter(root, "band", band.decide(questions, table, band.BandParams()), {"attempts": table}, facts)


def _write_reason(root, questions, draw):
    attempts = []
    for row in questions.iter_rows(named=True):
        for index in range(3):
            words = draw.choices(WORDS, k=draw.randrange(30, 200))
            attempt = _attempt("reason", row, "m_teacher", index, index < 2, " ".join(words))
            attempts.append(attempt | {"teacher": "teacher", "n_tokens": len(words)})
    chains = reason.decide(questions, pl.DataFrame(attempts, schema={**ATTEMPT, "teacher": pl.String}))
    facts = {
        "teachers": [
            {"model": "teacher", "responses": len(attempts), "tokens": 4000, "tokens_saved": 0, "seconds": 3.0}
        ]
    }
    _write(root, "reason", chains._asdict(), len(attempts), chains.kept.height, facts, chains.rejected)
    return chains.kept


def _write_train(root, kept):
    trained = make_model("trained", path=root / "train" / "model", model_id="m_trained", origin="trained")
    write_models(root / "train" / "model.json", trained)
    (root / "train" / "model").mkdir()
    (root / "train" / "model" / "config.json").write_text("{}")
    steps = {"step": [1, 2, 3], "epoch": [0.5, 1.0, 1.5], "loss": [2.0, 1.0, 0.5], "lr": [1e-5, 5e-6, 0.0]}
    facts = {"base_model_id": "m_base", "tokens": 600, "seconds": 8.0, "checkpoint": {"text": "step 3 of 3: the last"}}
    facts |= {"epochs": 1.5, "device": "cpu", "world_size": 2}
    tables = {"steps": pl.DataFrame(steps), "rejected": kept.clear().with_columns(reason=None, evidence=None)}
    # The last sample is the one that is least learnt.
    losses = [(step, place, 2.0 / step + place) for step in (1, 2) for place in range(kept.height)]
    taken = [(step, step, 0, kept["chain_id"][place], 60, 40, loss) for step, place, loss in losses]
    tables["samples"] = pl.DataFrame(taken, SAMPLE_LOSS, orient="row")
    _write(root, "train", tables, kept.height, kept.height, facts)


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
    verdicts[0] |= {"rule": "judge", "judge_response_id": "r_judge"}
    answered, graded = pl.DataFrame(answers, schema=ANSWER), pl.DataFrame(verdicts, schema=VERDICT)
    drawn = {"responses": len(answers) // 2, "tokens": 3500, "tokens_saved": 0, "seconds": 1.0}
    facts = {"items": items.height, "arms": {"base": drawn, "trained": drawn}}
    _write(root, "answer", {"answers": answered}, len(answers), len(answers), facts)
    judgement = verdicts[0] | {"response_id": "r_judge", "model_id": "m_base", "text": "The same.\nCORRECT"}
    _write_grade(root, graded, pl.DataFrame([judgement], schema=JUDGEMENT))


def _write_grade(root, verdicts, judgements):
    graded = score(verdicts, Resampling(confidence=0.95, resamples=200, seed=0))
    scores = graded.scores.filter(pl.col("metric") == "pass@1")
    tables = {"verdicts": verdicts, "judgements": judgements, "scores": scores}
    _write(root, "grade", tables, verdicts.height, verdicts.height, {})
    write_json(root / "grade" / "comparisons.json", graded.comparisons)
    write_json(root / "grade" / "metrics.json", metrics(scores))


def _write(root, stage, tables, taken, kept, facts, rejected=None):
    """The tables and the manifest of a stage that is no filter."""
    reasons = count_reasons(rejected) if rejected is not None else {}
    with publish(root / stage) as part:
        for name, table in tables.items():
            table.write_parquet(part / f"{name}.parquet")
        write_manifest(part, _own(stage), takes=_takes(stage), taken=taken, kept=kept, rejected=reasons, facts=facts)


@cache
def _entries():
    return stage_entries(DVC_FILE)


def _own(stage):
    return import_module(stage_module(_entries()[stage]["cmd"])).STAGE


def _takes(stage):
    """A stage takes the rows of its first dep in dvc.yaml."""
    first = Path(_entries()[stage]["deps"][0])
    return first if first.suffix == ".parquet" else None
