"""Numbers that a plan rests on, each with where it is from: said by the user, measured, of params, or assumed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.errors import LimoError

ASSUMABLE = ("questions", "kept", "drawn", "samples", "tokens", "responses")
STAGES = ("screen", "band", "reason", "train", "answer", "grade")
SAID = "said"
MEASURED = "measured"


class Given(NamedTuple):
    """A number and its source."""

    value: float
    source: str
    """`said`, `measured: ...`, `params`, `published: ...` or `assumed: ...`."""


class Numbers:
    """Looks up what is said first, then what is measured; and remembers every number that was used."""

    def __init__(self, said: Mapping[str, float], measured: Mapping[str, Given]) -> None:
        """Take what the command line and an earlier run say, by keys such as `band.tokens` and `reason.r1.tokens`."""
        self._said, self._measured = said, measured
        self.used: dict[str, Given] = {}
        self._asked: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether it is said or measured."""
        return key in self._said or key in self._measured

    def check(self) -> None:
        """Raise a LimoError for what was said and nothing asked for; call it when all is planned."""
        if unused := [key for key in self._said if key not in self._asked]:
            raise LimoError(f"--assume {unused[0]}: nothing in this plan depends on it; {', '.join(self.used)} do")

    def of(self, key: str, otherwise: Given) -> float:
        """The number called `key`, as `STAGE.WHAT` or `STAGE.MODEL.WHAT`; the latter falls back on the former."""
        stage, *_, what = key.split(".")
        names = list(dict.fromkeys((key, f"{stage}.{what}")))
        self._asked.update(names)
        found = next((Given(self._said[name], SAID) for name in names if name in self._said), None)
        found = found or next((self._measured[name] for name in names if name in self._measured), None)
        self.used[key] = found or otherwise
        return self.used[key].value


def read_said(texts: Sequence[str], models: Sequence[str]) -> dict[str, float]:
    """What `--assume STAGE.WHAT=NUMBER` says.

    Args:
        models: names that may stand between the two.

    Raises:
        LimoError: one is not of that form.
    """
    said: dict[str, float] = {}
    for text in texts:
        key, _, number = text.partition("=")
        stage, *middle, what = key.strip().split(".") if "." in key else ("", "")
        right = stage in STAGES and what in ASSUMABLE and len(middle) < 2 and all(name in models for name in middle)
        try:
            value = float(number.replace("_", ""))
        except ValueError:
            value = -1.0
        if not right or not 0 < value < float("inf"):
            raise LimoError(
                f"--assume {text}: give STAGE.WHAT=NUMBER such as band.tokens=9000, of the stages {', '.join(STAGES)} "
                f"and {', '.join(ASSUMABLE)}; STAGE.MODEL.WHAT for one model"
            )
        said[key.strip()] = value
    return said
