"""Trains one small model on a stream of documents, on the CPU.

The recipe was found by trial (see the curve in each training.json): one document a row, loss on the continuation only,
Muon on the matrices and AdamW on the rest, bf16 autocast, warm-up then a linear decay to zero.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from tasks.shipped.corpus import BEGIN, END, PAD, Document

IGNORE = -100
WINDOW = 16


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
    config = Qwen2Config(
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
    width = max(len(ids) for ids, _ in group)
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
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=0.0),
        torch.optim.AdamW(others, lr=recipe.other_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(model: Qwen2ForCausalLM, data: Iterator[Batch], recipe: Recipe, log: Callable[[str], None] = print) -> Curve:
    """Trains in place for `recipe.steps` steps."""
    model.train()
    parts = optimizers(model, recipe)
    schedules = [torch.optim.lr_scheduler.LambdaLR(part, lambda step: _rate(step, recipe)) for part in parts]
    losses, recent, tokens, started = [], [], 0, time.monotonic()
    for step, batch in enumerate(itertools.islice(data, recipe.steps), start=1):
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, batch)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part, schedule in zip(parts, schedules, strict=True):
            part.step()
            schedule.step()
        model.zero_grad()
        tokens += batch.ids.numel()
        recent.append(loss.item())
        if step % 50 == 0 or step == recipe.steps:
            losses.append((step, round(sum(recent) / len(recent), 4)))
            seconds = time.monotonic() - started
            log(f"step {step}/{recipe.steps} loss {losses[-1][1]:.4f} {tokens / seconds:.0f} tok/s {seconds:.0f} s")
            recent = []
    return Curve(losses, tokens, round(time.monotonic() - started, 1))


def _rate(step: int, recipe: Recipe) -> float:
    return min((step + 1) / recipe.warmup, 1.0) * max(0.02, min(1.0, 1.6 * (1 - step / recipe.steps)))
