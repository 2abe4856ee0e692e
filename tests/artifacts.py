"""A whole small run's artifacts, consistent in every id, written by the schemas of the records."""

import json
import os
import random
import shutil
from importlib import import_module
from pathlib import Path

import polars as pl

from flows.dag import module_of
from tasks.core.files import publish
from tasks.core.stage import count_reasons, stage_entries, write_manifest
from tasks.records.benchmark import ANSWER, ITEM, JUDGEMENT, SCORE, VERDICT, item_id, score_id, verdict_id
from tasks.records.ids import content_id
from tasks.records.question import BANDED, CLUSTER, HIT, LEAK, QUESTION
from tasks.records.response import ATTEMPT, CHAIN, SAMPLE, chain_id
from tasks.score import ScoreParams, score_chains
from tasks.select import SelectParams, select_samples
from tasks.tracking.store import connected
from tasks.training.log import SAMPLE_LOSS
from tests.builders import make_model, make_question, write_models

GRADER = "limo-grader 1"
DVC_FILE = Path(__file__).parents[1] / "dvc.yaml"
WORDS = ["we", "check", "that", "3", "+", "4", "since", "it", "might", "be", "perhaps", "therefore", "we", "verify"]
SHARED = "sums: what is $3 + 0$, and 1 more?"
REJECTED = {"reason": pl.String, "evidence": pl.String}


DUPLICATES = [
    make_question(text, answer, source="other", origin=f"other.jsonl:{row}").model_dump()
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
    pool = _write_screen(root, pool)
    banded = _write_band(root, pool, draw)
    chains = _write_reason(root, banded, draw)
    scored = score_chains(chains, ScoreParams(full_length=200))
    _write(root / "score", "score", {"chains": scored}, scored.height, scored.height, {"seconds": 0.1})
    decided = select_samples(scored, SelectParams(count=4))
    kept = decided.filter(pl.col("reason").is_null()).select(SAMPLE.names())
    rejected, leaks = _leak(root, decided.filter(pl.col("reason").is_not_null()))
    tables = {"kept": kept, "rejected": rejected, "leaks": leaks}
    _write(root / "select", "select", tables, decided.height, kept.height, {}, rejected)
    _write_train(root, kept)
    _write_answers(root, samples, draw)
    return root


def write_store(root, factory):
    """An empty MLflow store for the artifacts folder `root`; made once a session, since that takes ten seconds."""
    session = factory.getbasetemp()
    # Parallel test processes have their folders side by side in that of the session.
    template = (session.parent if "PYTEST_XDIST_WORKER" in os.environ else session) / "mlflow.db"
    if not template.exists():
        with connected(factory.mktemp("store")) as client:
            client.search_experiments()
            made = client.tracking_uri.removeprefix("sqlite:///")
        # In one step, since another process may look for it meanwhile.
        Path(made).rename(template)
    (root / "mlflow").mkdir(parents=True)
    shutil.copy(template, root / "mlflow" / "mlflow.db")


def _question(number):
    answer = None if number % 10 == 9 else str(number)
    made = make_question(f"What is {number} + 0?", answer, domain=f"d{number % 3}", level="1", origin=f"made:{number}")
    return made.model_dump()


def _write_base(root):
    models = [make_model("base", model_id="m_base"), make_model("teacher", model_id="m_teacher", parameters=9)]
    write_models(root / "base" / "models.json", *models)
    _write(root / "base", "base", {}, 2, 2, {})


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
    empty = pl.DataFrame(schema={**ITEM, **REJECTED})
    _write(root / "benchmarks", "benchmarks", {"items": table, "rejected": empty}, len(rows), len(rows), {})


def _write_pull(root, pool):
    facts = {
        "made": {"rows": len(pool), "taken": len(pool), "rejected": {}, "license": "cc0-1.0"},
        "other": {"rows": 4, "taken": 4, "rejected": {"repeated_row": 1}, "license": "mit"},
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
    tables = {"clusters": pl.DataFrame(clusters, schema=CLUSTER)}
    kept = _filter(
        root,
        "clean",
        pool,
        lambda row: "no_verifiable_answer" if row["answer"] is None else reasons.get(row["question_id"]),
        tables=tables,
    )
    path = root / "clean" / "kept.parquet"
    pl.read_parquet(path).with_columns(language=pl.lit("en")).write_parquet(path)
    return kept


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
    told = {name: hits[0][name] for name in ("benchmark", "item_id", "rule", "match", "share")}
    reasons = {dropped["question_id"]: ("benchmark_overlap", json.dumps(told))}
    rules = {
        "ngram": {"drops": True, "questions": 1, "only_by_this_rule": 0, "benchmarks": {"sums": 1}},
        "containment": {"drops": False, "questions": 2, "only_by_this_rule": 1, "benchmarks": {"aime24": 1, "sums": 1}},
    }
    tables = {"hits": pl.DataFrame(hits, schema=HIT)}
    return _filter(
        root,
        "decontaminate",
        pool,
        lambda row: reasons.get(row["question_id"]),
        tables=tables,
        facts={"rules": rules},
    )


def _hit(row, rule, item, match, share, drops):
    named = {"question_id": row["question_id"], "rule": rule, "benchmark": item["benchmark"]}
    return named | {"item_id": item["item_id"], "match": match, "share": share, "drops": drops}


def _leak(root, rejected):
    """The last rejected chain holds a benchmark item: rejected chains with that reason, and the table of leaks."""
    item = pl.read_parquet(root / "benchmarks" / "items.parquet").row(0, named=True)
    chain = rejected.row(-1, named=True)
    leak = _hit(chain, "ngram", item, "add 0 and 1", 0.75, True)
    told = json.dumps({name: leak[name] for name in ("benchmark", "item_id", "rule", "match", "share")})
    last = pl.col("chain_id") == chain["chain_id"]
    marked = rejected.with_columns(
        reason=pl.when(last).then(pl.lit("benchmark_leak")).otherwise("reason"),
        evidence=pl.when(last).then(pl.lit(told)).otherwise("evidence"),
    )
    return marked, pl.DataFrame([leak | {"chain_id": chain["chain_id"]}], schema=LEAK)


def _filter(root, stage, rows, decide, schema=QUESTION, tables=None, facts=None):
    """`decide` gives None, a reason, or a reason with its evidence."""
    reasons = [(row, decide(row)) for row in rows]
    told = [(row, reason if isinstance(reason, tuple) else (reason, f"because of {stage}")) for row, reason in reasons]
    decided = [row | {"reason": reason, "evidence": evidence if reason else None} for row, (reason, evidence) in told]
    table = pl.DataFrame(decided, schema={**schema, **REJECTED})
    kept, rejects = table.filter(pl.col("reason").is_null()), table.filter(pl.col("reason").is_not_null())
    written = {"kept": kept.drop("reason", "evidence"), "rejected": rejects} | (tables or {})
    counts = table.group_by("source", pl.col("reason").fill_null("kept"), maintain_order=True).len()
    sources = {}
    for source, reason, count in counts.iter_rows():
        sources.setdefault(source, {})[reason] = count
    facts = {"sources": sources} | (facts or {"seconds": 0.2})
    _write(root / stage, stage, written, table.height, kept.height, facts, rejects)
    return written["kept"].to_dicts()


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
    facts = {"responses": 104, "samples_not_drawn": 36, "tokens": 2000, "tokens_saved": 500, "seconds": 1.5}
    reasons = dict.fromkeys(solved, "solved_by_weak_model")
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
    facts = {"responses": 713, "samples_not_drawn": 23, "tokens": 9000, "tokens_saved": 1500, "seconds": 4.5}
    return _filter(root, "band", banded, lambda row: reasons.get(row["solved"]), BANDED, table, facts)


def _write_reason(root, rows, draw):
    chains, wrong = [], []
    for row in rows:
        for index in range(3):
            text = " ".join(draw.choices(WORDS, k=draw.randrange(30, 200)))
            attempt = _attempt("reason", row, "m_teacher", index, index < 2, text)
            if index == 2:
                wrong.append(attempt | {"reason": "wrong_answer", "evidence": "1"})
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
        {"teachers": [{"model": "teacher", "responses": taken, "tokens": 4000, "tokens_saved": 0, "seconds": 3.0}]},
        tables["rejected"],
    )
    return tables["kept"]


def _write_train(root, kept):
    trained = make_model("trained", path=root / "train" / "model", model_id="m_trained", origin="trained")
    write_models(root / "train" / "model.json", trained)
    (root / "train" / "model").mkdir()
    (root / "train" / "model" / "config.json").write_text("{}")
    steps = {"step": [1, 2, 3], "epoch": [0.5, 1.0, 1.5], "loss": [2.0, 1.0, 0.5], "lr": [1e-5, 5e-6, 0.0]}
    facts = {"base_model_id": "m_base", "tokens": 600, "seconds": 9.0, "checkpoint": {"told": "step 3 of 3: the last"}}
    facts |= {"epochs": 1.5, "step_seconds": 8.0, "device": "cpu", "world_size": 2}
    tables = {"steps": pl.DataFrame(steps), "rejected": kept.clear().with_columns(reason=None, evidence=None)}
    # The last sample is the one that is least learnt.
    losses = [(step, place, 2.0 / step + place) for step in (1, 2) for place in range(kept.height)]
    taken = [(step, step, 0, kept["chain_id"][place], 60, 40, loss) for step, place, loss in losses]
    tables["samples"] = pl.DataFrame(taken, SAMPLE_LOSS, orient="row")
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
    verdicts[0] |= {"rule": "judge", "judge_response_id": "r_judge"}
    answered, graded = pl.DataFrame(answers, schema=ANSWER), pl.DataFrame(verdicts, schema=VERDICT)
    drawn = {"responses": len(answers) // 2, "tokens": 3500, "tokens_saved": 0, "seconds": 1.0}
    facts = {"items": items.height, "arms": {"base": drawn, "trained": drawn}}
    _write(root / "answer", "answer", {"answers": answered}, len(answers), len(answers), facts)
    judgement = verdicts[0] | {"response_id": "r_judge", "model_id": "m_base", "text": "The same.\nCORRECT"}
    _write_scores(root, graded, pl.DataFrame([judgement], schema=JUDGEMENT), samples)


def _write_scores(root, graded, judgements, samples):
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
    tables = {"verdicts": graded, "judgements": judgements, "scores": scores}
    _write(root / "grade", "grade", tables, graded.height, graded.height, {"seconds": 0.5})
    compared = {
        name: {"base": 0.2, "trained": 0.8, "difference": 0.6, "low": 0.4, "high": 0.8, "p_value": 0.001}
        | {"test": "paired bootstrap", "gained": 7, "lost": 1, "items": 10}
        for name in ("aime24", "sums")
    }
    (root / "grade" / "comparisons.json").write_text(json.dumps(compared))
    (root / "grade" / "metrics.json").write_text("{}")


def _write(folder, stage, tables, taken, kept, facts, rejected=None):
    """The tables and the manifest of a stage, which takes the rows of its first dep in dvc.yaml."""
    reasons = count_reasons(rejected) if rejected is not None else {}
    first = Path(stage_entries(DVC_FILE)[stage]["deps"][0])
    takes = first if first.suffix == ".parquet" else None
    own = import_module(module_of(stage, DVC_FILE)).STAGE
    with publish(folder) as part:
        for name, table in tables.items():
            table.write_parquet(part / f"{name}.parquet")
        write_manifest(part, own, takes=takes, taken=taken, kept=kept, rejected=reasons, facts=facts)
