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
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2ForCausalLM

from tasks.shipped import corpus, gate, tokenizer
from tasks.shipped.measure import measure
from tasks.shipped.pretrain import Curve, Recipe, batches, new_model, train

RECIPES = {
    "base": Recipe(steps=4000),
    "strong": Recipe(steps=300, matrix_lr=0.003, other_lr=1e-3, seed=2),
    "teacher": Recipe(steps=800, matrix_lr=0.005, other_lr=2e-3, seed=3),
}
RECORD = "training.json"


class Made(NamedTuple):
    """A trained model, before it is measured."""

    model: Qwen2ForCausalLM
    curve: Curve


def make(name: str, out: Path) -> dict[str, Any]:
    """Makes one model, or finds it made; returns its record."""
    folder, recipe = out / name, RECIPES[name]
    digest = corpus.digest(name, recipe.seed)
    known = _record(folder)
    if known.get("recipe") == recipe._asdict() and known.get("corpus_digest") == digest:
        print(f"{name}: already made")
        return known
    words = tokenizer.build()
    made = _train(name, recipe, out, words)
    _save(made.model, words, folder)
    record = {
        "model": name,
        "recipe": recipe._asdict(),
        "corpus_digest": digest,
        "parameters": sum(parameter.numel() for parameter in made.model.parameters()),
        "tokens": made.curve.tokens,
        "seconds": made.curve.seconds,
        "losses": made.curve.losses,
        "measured": measure(name, made.model, words),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    return record


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _train(name: str, recipe: Recipe, out: Path, words: PreTrainedTokenizerFast) -> Made:
    model = new_model(words, recipe.seed)
    if name != "base":
        before = AutoModelForCausalLM.from_pretrained(out / "base", dtype=torch.float32)
        model.load_state_dict(before.state_dict())
    data = batches(corpus.CORPORA[name](recipe.seed), words, recipe.batch, recipe.seed)
    curve = train(model, data, recipe, log=lambda line: print(f"{name}: {line}", flush=True))
    return Made(model, curve)


def _save(model: Qwen2ForCausalLM, words: PreTrainedTokenizerFast, folder: Path) -> None:
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
