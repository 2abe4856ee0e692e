"""The command line of a stage: paths as options, params from params.yaml, one line for a user's mistake.

`stage_main(run)` reads the signature of `run`: each positional parameter is a params model, loaded from the section of
params.yaml with the parameter's name; each keyword-only parameter is a `Path`, given as `--name PATH`.
"""

import argparse
import ctypes
import importlib
import inspect
import os
import signal
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import MANIFEST, write_json
from tasks.core.params import load_section

PR_SET_PDEATHSIG = 1


def stage_main(run: Callable[..., None]) -> None:
    """Run a stage from the command line; exits with 0, or with 2 after one line on stderr for a `LimoError`."""
    die_with_parent()
    run = _by_its_name(run)
    parameters = inspect.signature(run).parameters.values()
    types = typing.get_type_hints(run)
    parser = argparse.ArgumentParser(description=inspect.getdoc(inspect.getmodule(run)), allow_abbrev=False)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the params file")
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            parser.add_argument("--" + parameter.name.replace("_", "-"), type=Path, required=True, dest=parameter.name)
    options = vars(parser.parse_args())
    path = options.pop("params")
    with one_line_errors():
        sections = [load_section(path, p.name, types[p.name]) for p in parameters if p.kind is not p.KEYWORD_ONLY]
        run(*sections, **options)


def _by_its_name(run: Callable[..., None]) -> Callable[..., None]:
    """`run` of the module under its own name: what was defined in `__main__` cannot be sent to another process."""
    spec = sys.modules["__main__"].__spec__
    if run.__module__ != "__main__" or spec is None:
        return run
    named: Callable[..., None] = getattr(importlib.import_module(spec.name), run.__name__)
    return named


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a `LimoError` raised inside as one line on stderr and exit with 2; all else is a bug and passes.

    Ctrl-C is one line too, with exit code 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("limo: interrupted; run again to go on", file=sys.stderr)
        sys.exit(130)
    except LimoError as error:
        print(f"limo: {error}", file=sys.stderr)
        sys.exit(2)


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the kernel to end this process when its parent (DVC) ends: a cancelled flow must not leave it running.

    `number` is the signal it is sent then.

    Linux only; elsewhere nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        # The parent died between the two calls, so its death signal was never armed.
        sys.exit(1)


# What a stage did, in numbers: the manifest it writes last, and the kept and rejected tables of a filter.


def write_manifest(
    folder: Path,
    stage: str,
    *,
    taken: int,
    kept: int,
    rejected: Mapping[str, int],
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write `manifest.json`: rows taken in, kept, and rejected per reason, with any further facts of the stage.

    The numbers must add up: every row taken in is kept or rejected.
    """
    assert kept + sum(rejected.values()) == taken, f"{stage}: {kept} kept + {dict(rejected)} rejected != {taken} taken"
    counts = {"stage": stage, "taken": taken, "kept": kept, "rejected": dict(sorted(rejected.items()))}
    write_json(folder / MANIFEST, counts | {"facts": dict(facts or {})})


def write_filter(folder: Path, stage: str, decided: pl.DataFrame, facts: Mapping[str, Any] | None = None) -> None:
    """Write `kept.parquet`, `rejected.parquet` and the manifest of a filter.

    Args:
        decided: every row taken in, with the columns `reason` (null: kept) and `evidence` (what the reason rests on).
            Where it has a column `source`, the facts get the counts of each source as `sources`.
        facts: further facts of the stage; `sources` among them is left as it is.

    Raises:
        LimoError: no row is kept; names the stage and how many each reason dropped.
    """
    kept = decided.filter(pl.col("reason").is_null()).drop("reason", "evidence")
    rejected = decided.filter(pl.col("reason").is_not_null())
    reasons = count_reasons(rejected)
    if kept.is_empty():
        dropped = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "it was given none"
        raise LimoError(
            f"{stage}: no row is left of {decided.height} ({dropped}); loosen the section `{stage}` of params.yaml"
        )
    if "source" in decided.columns:
        facts = {"sources": count_sources(decided)} | dict(facts or {})
    kept.write_parquet(folder / "kept.parquet")
    rejected.write_parquet(folder / "rejected.parquet")
    write_manifest(folder, stage, taken=decided.height, kept=kept.height, rejected=reasons, facts=facts)


def count_reasons(rejected: pl.DataFrame) -> dict[str, int]:
    """Rows per `reason`, most frequent first."""
    counts = rejected.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return dict(counts.iter_rows())


def count_sources(decided: pl.DataFrame) -> dict[str, dict[str, int]]:
    """How many rows of each source are `kept`, and rejected for each reason; sources in their order."""
    counts = decided.group_by("source", pl.col("reason").fill_null("kept"), maintain_order=True).len()
    sources: dict[str, dict[str, int]] = {}
    for source, reason, count in counts.iter_rows():
        sources.setdefault(source, {})[reason] = count
    return sources
