"""Trains one small model on a stream of documents, on a GPU where there is one, else on the CPU.

The recipe was found by trial (see the curve in each training.json): one document a row, loss on the continuation only,
Muon on the matrices and AdamW on the rest, bf16 autocast, warm-up then a linear decay to zero.
"""

import itertools
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from tasks.shipped.corpus import BEGIN, END, PAD, Document

IGNORE = -100
WINDOW = 16
LOG_EVERY, CHECKPOINT_EVERY = 50, 200
WIDTHS = 32
"""Batches are as wide as a multiple of this, so that compiled code sees few widths."""


class Recipe(NamedTuple):
    """How one model is trained, or one part of its training."""

    corpus: str
    steps: int
    batch: int = 32
    matrix_lr: float = 0.01
    other_lr: float = 3e-3
    warmup: int = 50
    seed: int = 1


class Batch(NamedTuple):
    """Token ids and labels, padded on the right."""

    ids: Tensor
    labels: Tensor


class Curve(NamedTuple):
    """Loss over the run, and its cost."""

    losses: list[tuple[int, float]]
    tokens: int
    seconds: float


def new_model(tokenizer: Qwen2Tokenizer, seed: int, hidden: int = 128, layers: int = 4) -> Qwen2ForCausalLM:
    """A randomly initialised Qwen2 with heads of 32 (the smallest that vLLM takes on a CPU)."""
    torch.manual_seed(seed)
    end, pad, begin = (int(tokenizer.get_vocab()[token]) for token in (END, PAD, BEGIN))
    configure: Any = Qwen2Config  # its stubs do not know attn_implementation
    config = configure(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
        use_cache=False,
        # At this size faster than SDPA's CPU kernel, compiled or not.
        attn_implementation="eager",
    )
    build: Any = Qwen2ForCausalLM
    model: Qwen2ForCausalLM = build(config)
    model.generation_config.eos_token_id = [end, pad]
    model.generation_config.pad_token_id = pad
    model.generation_config.bos_token_id = begin
    return model


def batches(documents: Iterator[Document], tokenizer: Qwen2Tokenizer, size: int, seed: int) -> Iterator[Batch]:
    """Batches of documents of like length (sorted within a window, then shuffled), so that little is padding."""
    rng = random.Random(f"batches:{seed}")
    while window := list(itertools.islice(documents, size * WINDOW)):
        rows = sorted((_encode(document, tokenizer) for document in window), key=lambda row: len(row[0]))
        groups = [rows[start : start + size] for start in range(0, len(rows), size)]
        rng.shuffle(groups)
        for group in groups:
            yield _pad(group, tokenizer.pad_token_id)


def _encode(document: Document, tokenizer: Qwen2Tokenizer) -> tuple[list[int], list[int]]:
    prompt = tokenizer.encode(document.prompt, add_special_tokens=False)
    rest = tokenizer.encode(document.continuation, add_special_tokens=False)
    return prompt + rest, [IGNORE] * len(prompt) + rest


def _pad(group: list[tuple[list[int], list[int]]], pad: int) -> Batch:
    # One more than a multiple: the last token is only a target.
    width = -(-(max(len(ids) for ids, _ in group) - 1) // WIDTHS) * WIDTHS + 1
    ids = [ids + [pad] * (width - len(ids)) for ids, _ in group]
    labels = [labels + [IGNORE] * (width - len(labels)) for _, labels in group]
    return Batch(torch.tensor(ids), torch.tensor(labels))


def loss_of(model: Qwen2ForCausalLM, batch: Batch) -> Tensor:
    """Mean loss over the tokens of the continuations.

    No attention mask: padding is on the right, where causal attention never looks back at it from a real token.
    Only the positions with a label reach the output layer.
    """
    hidden = model.model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    target = batch.labels[:, 1:]
    kept = target != IGNORE
    logits = model.lm_head(hidden[kept])
    return nn.functional.cross_entropy(logits.float(), target[kept])


def optimizers(model: Qwen2ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms and biases."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    matrix_group = {"params": matrices, "peak": recipe.matrix_lr}
    other_group = {"params": others, "peak": recipe.other_lr}
    return [
        torch.optim.Muon([matrix_group], weight_decay=0.0),
        torch.optim.AdamW([other_group], betas=(0.9, 0.95), weight_decay=0.0),
    ]


class State(NamedTuple):
    """How far a run has come."""

    step: int
    losses: list[tuple[int, float]]
    tokens: int
    seconds: float


def train(
    model: Qwen2ForCausalLM,
    data: Iterator[Batch],
    recipe: Recipe,
    log: Callable[[str], None] = print,
    fast: bool = False,
    checkpoint: Path | None = None,
) -> Curve:
    """Trains in place for `recipe.steps` steps.

    Args:
        fast: compile first: a minute lost, then twice the tokens a second.
        checkpoint: a file to resume from, and to write every CHECKPOINT_EVERY steps.
    """
    model.train()
    parts = optimizers(model, recipe)
    step, losses, tokens, before = _restore(checkpoint, model, parts)
    if fast and (model.device.type == "cuda" or shutil.which("g++")):
        model.model.forward = torch.compile(model.model.forward, dynamic=True)
    recent, started = [], time.monotonic() - before
    for batch in itertools.islice(data, step, recipe.steps):
        recent.append(_step(model, batch, parts, _rate(step, recipe)))
        step, tokens = step + 1, tokens + batch.ids.numel()
        if step % LOG_EVERY == 0 or step == recipe.steps:
            losses.append((step, round(float(sum(recent)) / len(recent), 4)))
            seconds, recent = time.monotonic() - started, []
            log(f"step {step}/{recipe.steps} loss {losses[-1][1]:.4f} {tokens / seconds:.0f} tok/s {seconds:.0f} s")
        if checkpoint is not None and (step % CHECKPOINT_EVERY == 0 or step == recipe.steps):
            _save_checkpoint(checkpoint, model, parts, State(step, losses, tokens, time.monotonic() - started))
    model.model.__dict__.pop("forward", None)
    return Curve(losses, tokens, round(time.monotonic() - started, 1))


def _step(model: Qwen2ForCausalLM, batch: Batch, parts: list[torch.optim.Optimizer], rate: float) -> Tensor:
    for part in parts:
        for group in part.param_groups:
            group["lr"] = rate * group["peak"]
    with torch.autocast(model.device.type, torch.bfloat16):
        loss = loss_of(model, Batch(*(tensor.to(model.device) for tensor in batch)))
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for part in parts:
        part.step()
    model.zero_grad()
    return loss.detach()


def _restore(checkpoint: Path | None, model: Qwen2ForCausalLM, parts: list[torch.optim.Optimizer]) -> State:
    if checkpoint is None or not checkpoint.exists():
        return State(0, [], 0, 0.0)
    found = torch.load(checkpoint, map_location=model.device, weights_only=True)
    model.load_state_dict(found["model"])
    for part, state in zip(parts, found["parts"], strict=True):
        part.load_state_dict(state)
    return State(*found["state"])


def _save_checkpoint(
    checkpoint: Path, model: Qwen2ForCausalLM, parts: list[torch.optim.Optimizer], state: State
) -> None:
    scratch = checkpoint.with_suffix(".part")
    torch.save(
        {"model": model.state_dict(), "parts": [part.state_dict() for part in parts], "state": list(state)}, scratch
    )
    scratch.replace(checkpoint)


def _rate(step: int, recipe: Recipe) -> float:
    return min((step + 1) / recipe.warmup, 1.0) * max(0.02, min(1.0, 1.6 * (1 - step / recipe.steps)))
