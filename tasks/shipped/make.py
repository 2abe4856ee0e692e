"""Rebuilds the shipped models: `python -m tasks.shipped.make --out tasks/shipped [--only base]`.

Writes one standard Hugging Face folder a model with a `training.json` next to the weights: seeds, corpus digest, curve
and what the model was measured to do. `training.json` is written last, so a folder that has one for the same recipe is
complete and is reused. A killed run resumes from a checkpoint in the work folder. Without `--only`, as many
models at once as there are cores, one thread each; on a GPU one after the other.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM, Qwen2Tokenizer

from tasks.core.errors import LimoError
from tasks.core.files import read_json, write_json
from tasks.core.stage import die_with_parent, one_line_errors
from tasks.records.ids import content_id
from tasks.shipped import corpus, gate, tokenizer
from tasks.shipped.corpus import overlap
from tasks.shipped.gate import measure
from tasks.shipped.pretrain import Curve, Recipe, batches, new_model, train


class Plan(NamedTuple):
    """How one model is trained: from random weights, or from another model's."""

    recipe: Recipe
    hidden: int = 128
    parent: str | None = None
    """The model whose weights training starts from; `goes_on_from` in the record. None: random weights."""
    shipped: bool = True
    """Else only a step on the way, which stays in the work folder and is not measured."""


def _first(corpus_name: str, hidden: int = 128, shipped: bool = False) -> Plan:
    return Plan(Recipe(corpus_name, steps=2600, seed=1), hidden, shipped=shipped)


def _long(corpus_name: str, before: str) -> Plan:
    recipe = Recipe(corpus_name, steps=1300, matrix_lr=0.008, other_lr=2e-3, seed=6)
    return Plan(recipe, parent=before, shipped=False)


def _letters(corpus_name: str, before: str) -> Plan:
    return Plan(Recipe(corpus_name, steps=1000, matrix_lr=0.007, other_lr=1.8e-3, seed=7), parent=before)


def _further(corpus_name: str, steps: int, seed: int) -> Plan:
    recipe = Recipe(corpus_name, steps=steps, matrix_lr=0.006, other_lr=2e-3, warmup=20, seed=seed)
    return Plan(recipe, parent="base")


PLANS: dict[str, Plan] = {
    "short": _first("base", shipped=True),
    "base-long": _long("base_long", "short"),
    "base": _letters("base_letters", "base-long"),
    "control-first": _first("control"),
    "control-long": _long("control_long", "control-first"),
    "control": _letters("control_letters", "control-long"),
    "medium": _first("base", hidden=96, shipped=True),
    "small": _first("base", hidden=64, shipped=True),
    "strong": _further("strong", 150, 2),
    "careful": _further("careful", 300, 3),
    "plain": _further("plain", 200, 4),
    "hasty": _further("hasty", 200, 5),
}
"""`short` has had the first part of the base's pre-training, as `medium` and `small` have: there sizes compare."""
SHIPPED = tuple(name for name, plan in PLANS.items() if plan.shipped)
GATED = ("base",)
"""Bases that claims are made for; the others are there to be compared with it, whatever they know."""
RECORD = "training.json"


class TrainedModel(NamedTuple):
    """A trained model, before it is measured, with its curve."""

    model: Qwen2ForCausalLM
    curve: Curve


class Folders(NamedTuple):
    """Where models are: those that ship, and the steps on the way to them."""

    out: Path
    work: Path

    def of(self, name: str) -> Path:
        """The folder of a model."""
        return (self.out if PLANS[name].shipped else self.work) / name


def make(name: str, folders: Folders) -> dict[str, Any]:
    """Makes one model, or finds it made; returns its record."""
    known = _record(folders.of(name))
    if _is_of(known, name):
        print(f"{name}: already made")
        return known
    words = tokenizer.build()
    return publish(name, folders, _train(name, folders, words), words)


def _is_of(known: dict[str, Any] | None, name: str | None) -> bool:
    """Whether a record is of the model as planned now, trained from one that is as planned now."""
    if name is None or not known:
        return name is None and not known
    planned = _planned(name)
    same = {key: known.get(key) for key in planned} == planned
    return same and _is_of(known.get("before"), PLANS[name].parent)


def _planned(name: str) -> dict[str, Any]:
    recipe, hidden, before, _ = PLANS[name]
    digest = corpus.digest(recipe.corpus, recipe.seed)
    return {"recipe": recipe._asdict(), "hidden": hidden, "goes_on_from": before, "corpus_digest": digest}


def publish(name: str, folders: Folders, trained: TrainedModel, words: Qwen2Tokenizer) -> dict[str, Any]:
    """Writes the folder of a trained model, measures what was written, and writes its record last."""
    plan, folder = PLANS[name], folders.of(name)
    _save(trained.model, words, folder)
    written: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    record = {
        "model": name,
        **_planned(name),
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        **trained.curve._asdict(),
        "questions": overlap(plan.recipe.corpus, plan.recipe.seed, plan.recipe.steps * plan.recipe.batch)._asdict(),
        "before": _record(folders.of(plan.parent)) if plan.parent else None,
        "measured": measure(name, written, words) if plan.shipped else {},
    }
    write_json(folder / RECORD, record)
    _checkpoint_file(name, folders).unlink(missing_ok=True)
    return record


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    return found


def _train(name: str, folders: Folders, words: Qwen2Tokenizer) -> TrainedModel:
    recipe, hidden, before, _ = PLANS[name]
    # Its stubs take `to` for the one of a module without parameters.
    model: Any = new_model(words, recipe.seed, hidden)
    if before is not None:
        model.load_state_dict(
            AutoModelForCausalLM.from_pretrained(folders.of(before), dtype=torch.float32).state_dict()
        )
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    data = batches(corpus.CORPORA[recipe.corpus](recipe.seed), words, recipe.batch, recipe.seed)
    folders.work.mkdir(parents=True, exist_ok=True)
    checkpoint = _checkpoint_file(name, folders)
    curve = train(
        model, data, recipe, log=lambda line: print(f"{name}: {line}", flush=True), fast=True, checkpoint=checkpoint
    )
    return TrainedModel(model.to("cpu"), curve)


def _checkpoint_file(name: str, folders: Folders) -> Path:
    """The checkpoint that a killed run resumes from; deleted when the record is written."""
    return folders.work / f"{name}-{content_id('plan', json.dumps(_lineage(name)))}.pt"


def _lineage(name: str | None) -> list[dict[str, Any]]:
    """The plans of a model and of those that it is trained from."""
    return [_planned(name), *_lineage(PLANS[name].parent)] if name else []


def _save(model: Any, words: Qwen2Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    model.config.use_cache = True
    model.to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)


def make_all(folders: Folders) -> None:
    """Makes every model that is not made, each as soon as the one it is trained from is made.

    Raises:
        LimoError: a base does not pass the gate, or a process failed.
    """
    names = needed(folders)
    print(f"to make: {', '.join(names) or 'nothing, all models are as planned'}", flush=True)
    order = TopologicalSorter({name: _parents(name) for name in names})
    order.prepare()
    with ThreadPoolExecutor(1 if torch.cuda.is_available() else os.cpu_count() or 1) as pool:
        running: dict[Future[int], str] = {}
        while order.is_active():
            running |= {pool.submit(_process, name, folders): name for name in order.get_ready()}
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(done)
                if done.result():
                    raise LimoError(f"{name}: not made; what went wrong is printed above")
                order.done(name)


def needed(folders: Folders) -> list[str]:
    """The models that ship and are not made, and those on the way to them."""
    made = {name for name in PLANS if _is_of(_record(folders.of(name)), name)}
    waiting = [name for name in SHIPPED if name not in made]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += [parent for parent in _parents(name) if parent not in made]
    return [name for name in PLANS if name in found]


def _parents(name: str) -> list[str]:
    before = PLANS[name].parent
    return [before] if before else []


def _process(name: str, folders: Folders) -> int:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    paths = ["--out", str(folders.out), "--work", str(folders.work)]
    return subprocess.run(
        [sys.executable, "-m", "tasks.shipped.make", *paths, "--only", name], env=environment, check=False
    ).returncode


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tasks/shipped"))
    parser.add_argument("--work", type=Path, default=Path("artifacts/shipped"))
    parser.add_argument("--only", choices=tuple(PLANS))
    options = parser.parse_args()
    folders = Folders(options.out, options.work)
    die_with_parent()
    with one_line_errors():
        if options.only is None:
            make_all(folders)
            return
        record = make(options.only, folders)
        print(f"{options.only}: {json.dumps(record['measured'])}")
        if options.only in GATED:
            gate.check_gate(options.only, record["measured"])


if __name__ == "__main__":
    main()
