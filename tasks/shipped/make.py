"""Rebuilds the shipped models: `python -m tasks.shipped.make --out tasks/shipped [--only base]`.

Writes one standard Hugging Face folder a model (`base`, `strong`, `teacher`) with a `training.json` beside the weights:
seeds, corpus digest, curve and what the model was measured to do. `training.json` is written last, so a folder that has
one for the same recipe is complete and is not made again. `strong` and `teacher` go on from `base`.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM, Qwen2Tokenizer

from tasks.shipped import corpus, gate, tokenizer
from tasks.shipped.measure import measure
from tasks.shipped.pretrain import Curve, Recipe, batches, new_model, train

RECIPES: dict[str, tuple[Recipe, ...]] = {
    "base": (
        Recipe("base", steps=1700, seed=1),
        Recipe("base_hard", steps=700, matrix_lr=0.008, other_lr=2e-3, seed=4),
        Recipe("base_hard", steps=250, matrix_lr=0.006, other_lr=1.5e-3, warmup=20, seed=6),
    ),
    "strong": (Recipe("strong", steps=120, matrix_lr=0.004, other_lr=1e-3, warmup=20, seed=2),),
    "teacher": (Recipe("teacher", steps=400, matrix_lr=0.006, other_lr=2e-3, warmup=20, seed=3),),
}
RECORD = "training.json"


class Made(NamedTuple):
    """A trained model, before it is measured, with one curve a part of its recipe."""

    model: Qwen2ForCausalLM
    curves: list[Curve]


def make(name: str, out: Path) -> dict[str, Any]:
    """Makes one model, or finds it made; returns its record."""
    known = _record(out / name)
    if known.get("parts") and [_inputs(part) for part in known["parts"]] == [_planned(part) for part in RECIPES[name]]:
        print(f"{name}: already made")
        return known
    words = tokenizer.build()
    return publish(name, out, _train(name, out, words), words)


def _planned(recipe: Recipe) -> dict[str, Any]:
    return {"recipe": recipe._asdict(), "corpus_digest": corpus.digest(recipe.corpus, recipe.seed)}


def _inputs(part: dict[str, Any]) -> dict[str, Any]:
    return {"recipe": part["recipe"], "corpus_digest": part["corpus_digest"]}


def publish(name: str, out: Path, made: Made, words: Qwen2Tokenizer) -> dict[str, Any]:
    """Writes the folder of a trained model, measures it, and writes its record last."""
    _save(made.model, words, out / name)
    record = {
        "model": name,
        "goes_on_from": None if name == "base" else "base",
        "parameters": sum(parameter.numel() for parameter in made.model.parameters()),
        "tokens": sum(curve.tokens for curve in made.curves),
        "parts": [_planned(recipe) | curve._asdict() for recipe, curve in zip(RECIPES[name], made.curves, strict=True)],
        "measured": measure(name, made.model, words),
    }
    (out / name / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    return record


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _train(name: str, out: Path, words: Qwen2Tokenizer) -> Made:
    model = new_model(words, RECIPES[name][0].seed)
    if name != "base":
        before = AutoModelForCausalLM.from_pretrained(out / "base", dtype=torch.float32)
        model.load_state_dict(before.state_dict())
    curves = []
    for recipe in RECIPES[name]:
        data = batches(corpus.CORPORA[recipe.corpus](recipe.seed), words, recipe.batch, recipe.seed)
        curves.append(train(model, data, recipe, log=lambda line: print(f"{name}: {line}", flush=True)))
    return Made(model, curves)


def _save(model: Qwen2ForCausalLM, words: Qwen2Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    model.config.use_cache = True
    model.save_pretrained(folder)
    words.save_pretrained(folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tasks/shipped"))
    parser.add_argument("--only", choices=tuple(RECIPES))
    options = parser.parse_args()
    torch.set_num_threads(2)
    for name in [options.only] if options.only else RECIPES:
        record = make(name, options.out)
        print(f"{name}: {json.dumps(record['measured'])}")
        if name == "base":
            gate.check(record["measured"])


if __name__ == "__main__":
    main()
