"""Which samples each optimizer step takes, and how many steps there are."""

from typing import NamedTuple

from tasks.training.data import Encoded, batch_rows, steps_per_epoch, token_batches
from tasks.training.recipe import Recipe

TENTHS = 10
"""Parts of a run that is counted in steps, each logged and checkpointed as an epoch."""


class Choice(NamedTuple):
    """The step whose weights are exported, of how many, and the rule it was chosen by; never one of benchmarks."""

    step: int
    of_steps: int
    epoch: int | None
    """None in a run that is counted in steps."""
    of_epochs: int | None
    rule: str
    """`train.select_epoch`, or `last`."""

    def __str__(self) -> str:
        """For people."""
        rule = "the last" if self.rule == "last" else f"chosen by {self.rule}"
        epoch = f"epoch {self.epoch} of {self.of_epochs}, " if self.epoch else ""
        return f"{epoch}step {self.step} of {self.of_steps}: {rule}"

    def facts(self) -> dict[str, int | str | None]:
        """For the manifest, with the text for people as `told`."""
        return self._asdict() | {"told": str(self)}


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


def choice_of(schedule: Schedule, recipe: Recipe) -> Choice:
    """Which checkpoint the run exports."""
    rule = "last" if recipe.select_epoch is None else "train.select_epoch"
    if recipe.steps is not None:
        return Choice(schedule.last, schedule.total, None, None, rule)
    return Choice(schedule.last, schedule.total, recipe.select_epoch or recipe.epochs, recipe.epochs, rule)


def schedule_of(samples: list[Encoded], recipe: Recipe) -> Schedule:
    """The schedule of a run on these samples."""
    if recipe.steps is not None and recipe.batch_tokens is not None:
        batches = token_batches([sample.learnt for sample in samples], recipe.seed, recipe.batch_tokens, recipe.steps)
        return Schedule(-(-recipe.steps // TENTHS), recipe.steps, recipe.steps, batches)
    per_epoch = steps_per_epoch(len(samples), recipe.global_batch)
    return Schedule(per_epoch, per_epoch * recipe.epochs, per_epoch * (recipe.select_epoch or recipe.epochs), None)
