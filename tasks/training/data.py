"""Samples as token ids, their order, and the batches made of them: pure functions, so a resumed run repeats them."""

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.errors import LimoError

if TYPE_CHECKING:
    import torch


class Encoded(NamedTuple):
    """One sample as the model reads it: the prompt, then the response up to and with its end token."""

    chain_id: str
    ids: list[int]
    prompt: int
    """How many of `ids` are the prompt."""

    @property
    def learnt(self) -> int:
        """Number of tokens in the loss: the response and its end token."""
        return len(self.ids) - self.prompt


class Micro(NamedTuple):
    """What a rank takes through the model at once.

    `ids` is samples by tokens. The others have an entry for each token in the loss: `target` is the token, predicted
    from the one at (`row`, `column`) of `ids`, and `weight` its part in the loss.
    """

    ids: "torch.Tensor"
    row: "torch.Tensor"
    column: "torch.Tensor"
    target: "torch.Tensor"
    weight: "torch.Tensor"

    def to(self, device: "torch.device") -> "Micro":
        """The same on `device`."""
        return Micro(*(tensor.to(device) for tensor in self))


def encode(tokenizer: Any, chain_id: str, system: str | None, question: str, response: str) -> Encoded:
    """The sample in the model's own chat template.

    Prompt and response are encoded apart, as at inference, where the response grows token by token after the prompt.
    What the template writes after the end token (a line break, for most) is never generated and so is left out.

    Raises:
        LimoError: the template does not continue its own prompt, or does not close the response with the end token.
    """
    asked = [{"role": "system", "content": system}] if system else []
    asked.append({"role": "user", "content": question})
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": response}], tokenize=False)
    if not whole.startswith(prompt):
        raise LimoError(
            f"{tokenizer.name_or_path}: its chat template does not continue its own prompt for sample {chain_id}"
        )
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False)
    ids = tokenizer.encode(whole[len(prompt) :], add_special_tokens=False)
    if tokenizer.eos_token_id not in ids:
        token = tokenizer.eos_token
        raise LimoError(
            f"{tokenizer.name_or_path}: its chat template does not close an answer with the end token `{token}`"
        )
    end = len(ids) - ids[::-1].index(tokenizer.eos_token_id)
    return Encoded(chain_id, prompt_ids + ids[:end], len(prompt_ids))


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The order of `count` samples in an epoch, a function of nothing but its arguments."""
    order = list(range(count))
    random.Random(f"order/{seed}/{epoch}").shuffle(order)
    return order


def batch_rows(count: int, seed: int, global_batch: int, step: int) -> list[int]:
    """The samples of optimizer step `step`, counted from 0; the last batch of an epoch may be smaller."""
    epoch, index = divmod(step, steps_per_epoch(count, global_batch))
    return epoch_order(count, seed, epoch)[index * global_batch : (index + 1) * global_batch]


def token_batches(lengths: Sequence[int], seed: int, batch_tokens: int, steps: int) -> list[list[int]]:
    """The samples of each of `steps` steps: epoch after epoch without a gap, a step closed by the sample with which the
    run reaches its share of the tokens, so that no rounding adds up. A step may hold a sample twice.

    Args:
        lengths: tokens in the loss of each sample.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    tokens, epoch = 0, 0
    while len(batches) < steps:
        for row in epoch_order(len(lengths), seed, epoch):
            batch.append(row)
            tokens += lengths[row]
            # One long sample can fill several steps' share: those steps then take one sample each, and none is empty.
            if tokens >= batch_tokens * (len(batches) + 1):
                batches.append(batch)
                batch = []
            if len(batches) == steps:
                break
        epoch += 1
    return batches


def steps_per_epoch(count: int, global_batch: int) -> int:
    """Optimizer steps in an epoch of `count` samples."""
    return -(-count // global_batch)


def deal(rows: Sequence[int], lengths: Sequence[int], ranks: int, micro_batch: int) -> list[list[list[int]]]:
    """The samples of each micro batch of each rank: `dealt[rank][k]`.

    Neighbours in length share a micro batch, and all ranks have their longest at the same time: little padding, little
    waiting. Every rank gets the same number of micro batches, as its collective calls must match; some may be empty.
    """
    ordered = sorted(rows, key=lambda row: (-lengths[row], row))
    size = min(micro_batch, -(-len(rows) // ranks))
    chunks = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    chunks += [[]] * (-len(chunks) % ranks)
    return [chunks[rank::ranks] for rank in range(ranks)]


def sample_weights(learnt: Sequence[int], weighting: str) -> list[float]:
    """The weight of one token of each sample of a global batch; over all tokens the weights sum to 1."""
    if weighting == "example":
        return [1 / (count * len(learnt)) for count in learnt]
    return [1 / sum(learnt)] * len(learnt)


def collate(samples: Sequence[Encoded], weights: Sequence[float]) -> Micro:
    """A micro batch, padded on the right.

    No attention mask is needed: attention is causal, so no token of a sample sees the padding after it, and the loss is
    taken at places known from the lengths. An empty micro batch becomes two tokens without weight.
    """
    import torch

    width = max((len(sample.ids) for sample in samples), default=2)
    ids = torch.zeros((max(len(samples), 1), width), dtype=torch.long)
    places: list[tuple[int, int, int]] = [] if samples else [(0, 0, 0)]
    spread: list[float] = [] if samples else [0.0]
    for row, (sample, weight) in enumerate(zip(samples, weights, strict=True)):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        places += [(row, at - 1, sample.ids[at]) for at in range(sample.prompt, len(sample.ids))]
        spread += [weight] * sample.learnt
    row_of, column_of, target = torch.tensor(places).unbind(1)
    return Micro(ids, row_of, column_of, target, torch.tensor(spread))


def learning_rate(step: int, total: int, peak: float, scheduler: str, warmup: int) -> float:
    """The learning rate of optimizer step `step` of `total`, counted from 0."""
    if step < warmup:
        return peak * step / warmup
    done = (step - warmup) / max(total - warmup, 1)
    return peak * {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[scheduler]
