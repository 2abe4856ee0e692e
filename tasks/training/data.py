"""Samples as token ids, the batch of each step, and its packs: pure functions, so a resumed run repeats them."""

import heapq
import itertools
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import LimoError
from tasks.training.recipe import Recipe

if TYPE_CHECKING:
    import torch


class EncodedSample(NamedTuple):
    """One sample as the model reads it: the prompt, then the response up to and with its end token."""

    chain_id: str
    ids: list[int]
    prompt: int
    """How many of `ids` are the prompt."""

    @property
    def loss_tokens(self) -> int:
        """Number of tokens in the loss: the response and its end token."""
        return len(self.ids) - self.prompt


class Pack(NamedTuple):
    """Samples end to end in one row of T tokens, which a rank takes through the model at once.

    The last four have an entry for each token in the loss: `target` is the token, predicted from the one at `place`,
    `weight` its weight in the loss, `sample` the number of its sample in the pack.
    """

    ids: "torch.Tensor"
    """1 by T."""
    positions: "torch.Tensor"
    """1 by T: each token's place in its sample, from 0."""
    lengths: tuple[int, ...]
    """Tokens of each sample."""
    place: "torch.Tensor"
    target: "torch.Tensor"
    weight: "torch.Tensor"
    sample: "torch.Tensor"

    def to(self, device: "torch.device") -> "Pack":
        """The same on `device`."""
        tensors = {name: part.to(device) for name, part in self._asdict().items() if name != "lengths"}
        return Pack(lengths=self.lengths, **tensors)


def encode(
    tokenizer: Any, chain_id: str, system: str | None, question: str, response: str, *, thinking: bool | None = None
) -> EncodedSample:
    """The sample in the model's own chat template.

    Prompt and response are encoded apart, as at inference, where the response grows token by token after the prompt.
    What the template writes after the end token (a line break, for most) is never generated and so is left out.

    Args:
        thinking: as of `chat.thinking`.

    Raises:
        LimoError: the template does not continue its own prompt, changes the response, or does not close it with the
            end token.
    """
    options = {} if thinking is None else {"enable_thinking": thinking}
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": question})
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)
    answered = [*messages, {"role": "assistant", "content": response}]
    whole = tokenizer.apply_chat_template(answered, tokenize=False, **options)
    if not whole.startswith(prompt):
        raise LimoError(
            f"{tokenizer.name_or_path}: its chat template does not continue its own prompt for sample {chain_id}"
        )
    # From within the prompt where that opens the reasoning with which the response begins.
    start = whole.find(response.strip(), max(0, len(prompt) - len(response)))
    if start < 0 or whole[len(prompt) : start].strip():
        raise LimoError(
            f"{tokenizer.name_or_path}: its chat template changes the response of sample {chain_id} (some "
            "cut what comes before `</think>`); train a model whose template writes a response as it is"
        )
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False)
    ids = tokenizer.encode(whole[len(prompt) :], add_special_tokens=False)
    if tokenizer.eos_token_id not in ids:
        token = tokenizer.eos_token
        raise LimoError(
            f"{tokenizer.name_or_path}: its chat template does not close an answer with the end token `{token}`"
        )
    end = len(ids) - ids[::-1].index(tokenizer.eos_token_id)
    return EncodedSample(chain_id, prompt_ids + ids[:end], len(prompt_ids))


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


def assign_packs(rows: Sequence[int], lengths: Sequence[int], ranks: int, tokens: int) -> list[list[list[int]]]:
    """The samples of each pack of each rank: `assigned[rank][k]`; a pack holds at most `tokens`, or one longer sample.

    Packs are as few and as even as can be found: the longest samples go first, each into the emptiest pack (LPT; R. L.
    Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 17, 1969). Every rank gets the same number
    of packs, as its collective calls must match, and the k-th of all ranks are alike in length; some may be empty.
    """
    ordered = sorted(rows, key=lambda row: (-lengths[row], row))
    total = sum(lengths[row] for row in rows)
    passes = max(1, -(-total // (tokens * ranks)))
    while (packs := _balance(ordered, lengths, passes * ranks, tokens)) is None:
        passes += 1
    packs.sort(key=lambda pack: -sum(lengths[row] for row in pack))
    return [packs[rank::ranks] for rank in range(ranks)]


def _balance(ordered: Sequence[int], lengths: Sequence[int], count: int, tokens: int) -> list[list[int]] | None:
    """The samples over `count` packs, each into the emptiest; None where one would overflow."""
    heap: list[tuple[int, int]] = [(0, number) for number in range(count)]
    packs: list[list[int]] = [[] for _ in range(count)]
    for row in ordered:
        held, number = heapq.heappop(heap)
        if held and held + lengths[row] > tokens:
            return None
        packs[number].append(row)
        heapq.heappush(heap, (held + lengths[row], number))
    return packs


def sample_weights(loss_tokens: Sequence[int], weighting: str) -> list[float]:
    """The weight of one token of each sample of a global batch; over all tokens the weights sum to 1."""
    if weighting == "example":
        return [1 / (count * len(loss_tokens)) for count in loss_tokens]
    return [1 / sum(loss_tokens)] * len(loss_tokens)


def collate(samples: Sequence[EncodedSample], weights: Sequence[float]) -> Pack:
    """The samples as one pack; an empty one becomes two tokens of which one is in the loss, without weight."""
    import torch

    chosen = samples or [EncodedSample("", [0, 0], 1)]
    lengths = tuple(len(sample.ids) for sample in chosen)
    starts = [0, *itertools.accumulate(lengths)]
    loss_tokens = torch.tensor([sample.loss_tokens for sample in chosen])
    places = [
        torch.arange(start + s.prompt - 1, start + len(s.ids) - 1) for start, s in zip(starts, chosen, strict=False)
    ]
    return Pack(
        torch.tensor([[token for sample in chosen for token in sample.ids]]),
        torch.cat([torch.arange(length) for length in lengths])[None],
        lengths,
        torch.cat(places),
        torch.tensor([token for sample in chosen for token in sample.ids[sample.prompt :]]),
        torch.repeat_interleave(torch.tensor(list(weights) or [0.0]), loss_tokens),
        torch.repeat_interleave(torch.arange(len(chosen)), loss_tokens),
    )


def learning_rate(step: int, total: int, peak: float, scheduler: str, warmup: int) -> float:
    """The learning rate of optimizer step `step` of `total`, counted from 0."""
    if step < warmup:
        return peak * step / warmup
    done = (step - warmup) / max(total - warmup, 1)
    return peak * {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[scheduler]


TENTHS = 10
"""Parts of a run that is counted in steps, each logged and checkpointed as an epoch."""


class CheckpointChoice(NamedTuple):
    """The step whose weights are exported, of how many, and the rule it was chosen by; never one of benchmarks."""

    step: int
    of_steps: int
    epoch: int | None
    """None in a run that is counted in steps."""
    of_epochs: int | None
    rule: str
    """`train.select_epoch`, or `last`."""

    def __str__(self) -> str:
        rule = "the last" if self.rule == "last" else f"chosen by {self.rule}"
        epoch = f"epoch {self.epoch} of {self.of_epochs}, " if self.epoch else ""
        return f"{epoch}step {self.step} of {self.of_steps}: {rule}"

    def facts(self) -> dict[str, int | str | None]:
        """For the manifest, with the same in words as `text`."""
        return self._asdict() | {"text": str(self)}


class Schedule(NamedTuple):
    """Which samples each step takes, and the steps of an epoch, of the whole run and up to the export."""

    per_epoch: int
    total: int
    last: int
    batches: list[list[int]] | None
    """With a budget of tokens: the samples of every step; else they follow from epoch and step."""

    def rows(self, step: int, count: int, recipe: Recipe) -> list[int]:
        """The samples of a step, counted from 0, out of `count`."""
        if self.batches is not None:
            return self.batches[step]
        return batch_rows(count, recipe.seed, recipe.global_batch, step)


def choose_checkpoint(schedule: Schedule, recipe: Recipe) -> CheckpointChoice:
    """Which checkpoint the run exports."""
    rule = "last" if recipe.select_epoch is None else "train.select_epoch"
    if recipe.steps is not None:
        return CheckpointChoice(schedule.last, schedule.total, None, None, rule)
    return CheckpointChoice(schedule.last, schedule.total, recipe.select_epoch or recipe.epochs, recipe.epochs, rule)


def make_schedule(samples: list[EncodedSample], recipe: Recipe) -> Schedule:
    """The schedule of a run on these samples."""
    if recipe.steps is not None and recipe.batch_tokens is not None:
        batches = token_batches(
            [sample.loss_tokens for sample in samples], recipe.seed, recipe.batch_tokens, recipe.steps
        )
        return Schedule(-(-recipe.steps // TENTHS), recipe.steps, recipe.steps, batches)
    per_epoch = steps_per_epoch(len(samples), recipe.global_batch)
    return Schedule(per_epoch, per_epoch * recipe.epochs, per_epoch * (recipe.select_epoch or recipe.epochs), None)
