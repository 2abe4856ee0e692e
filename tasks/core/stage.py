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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import yaml

from tasks.core.errors import LimoError
from tasks.core.files import MANIFEST, MANIFESTS, manifest_path, read_json, write_json
from tasks.core.params import Params, load_section

PR_SET_PDEATHSIG = 1
SOURCE = "pull"
"""The stage that the pool comes from."""


def stage_main(run: Callable[..., None]) -> None:
    """Run a stage from the command line; exits with 0, or with 2 after one line on stderr for a `LimoError`."""
    spec = sys.modules["__main__"].__spec__
    if run.__module__ == "__main__" and spec is not None:
        # What was defined in `__main__` cannot be sent to another process.
        run = getattr(importlib.import_module(spec.name), run.__name__)
    paths = [p.name for p in inspect.signature(run).parameters.values() if p.kind is p.KEYWORD_ONLY]
    command_line(run, sections_of(run), paths, inspect.getmodule(run))


def sections_of(run: Callable[..., None]) -> dict[str, type[Params]]:
    """The sections of params.yaml that a stage reads, each with its model: the positional parameters of `run`."""
    types = typing.get_type_hints(run)
    return {p.name: types[p.name] for p in inspect.signature(run).parameters.values() if p.kind is not p.KEYWORD_ONLY}


def command_line(
    run: Callable[..., None], sections: Mapping[str, type[Params]], paths: Sequence[str], module: object
) -> None:
    """Parse the options of a stage, one path each and `--params`, and call `run(*sections, **paths)`."""
    die_with_parent()
    parser = argparse.ArgumentParser(description=inspect.getdoc(module), allow_abbrev=False)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the params file")
    for name in paths:
        parser.add_argument("--" + name.replace("_", "-"), type=Path, required=True, dest=name)
    options = vars(parser.parse_args())
    path = options.pop("params")
    with one_line_errors():
        run(*(load_section(path, name, model) for name, model in sections.items()), **options)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a `LimoError` raised inside as one line on stderr and exit with 2; all else is a bug and passes.

    Ctrl-C is one line too, with exit code 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("limo: interrupted; run again to resume", file=sys.stderr)
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


class Stage(NamedTuple):
    """What a stage says of itself, beside its params: once in its module, and from there in its manifest."""

    name: str
    """Of the module, the entry in dvc.yaml, the section of params.yaml and the folder under artifacts/."""
    unit: str
    """What its `taken`, `kept` and `rejected` count: questions, responses, chains, ..."""
    reasons: Mapping[str, str] = {}
    """Reason of a rejection -> what it means, in words."""


class Manifest(NamedTuple):
    """What a stage did, in numbers; a function of its inputs: a rerun on the same inputs gives the same bytes."""

    stage: str
    unit: str
    takes: str | None
    """The stage whose rows it takes; None: it takes them from outside."""
    taken: int
    kept: int
    rejected: dict[str, int]
    """Rows by reason; kept + rejected == taken."""
    reasons: dict[str, str]
    """Every reason that the stage knows, in words."""
    facts: dict[str, Any]
    """Further facts of the stage."""


def write_manifest(
    folder: Path,
    stage: Stage,
    *,
    takes: Path | None = None,
    taken: int,
    kept: int,
    rejected: Mapping[str, int] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write `manifest.json` into a stage's scratch folder; `publish` brings it to artifacts/manifests/STAGE.json.

    Args:
        takes: the table whose rows the stage took, `artifacts/STAGE/NAME.parquet`.
        rejected: rows by reason; each reason is one of `stage.reasons`.
    """
    dropped = dict(sorted((rejected or {}).items()))
    assert kept + sum(dropped.values()) == taken, f"{stage.name}: {kept} kept + {dropped} rejected != {taken} taken"
    assert dropped.keys() <= stage.reasons.keys(), f"{stage.name}: a reason without words: {dropped}, {stage.reasons}"
    source = takes.parent.name if takes is not None else None
    manifest = Manifest(stage.name, stage.unit, source, taken, kept, dropped, dict(stage.reasons), dict(facts or {}))
    write_json(folder / MANIFEST, manifest._asdict())


def read_manifest(artifacts: Path, stage: str) -> Manifest:
    """What a stage wrote of itself.

    Raises:
        LimoError: it has not run, or its manifest is of another version of this project.
    """
    path = manifest_path(artifacts, stage)
    read = read_json(path)
    if not isinstance(read, dict) or read.keys() != set(Manifest._fields):
        raise LimoError(f"{path}: not a manifest of this version; run `dvc repro -f -s {stage}`")
    return Manifest(**read)


def has_run(artifacts: Path, stage: str) -> bool:
    """Whether a stage has written its manifest, which it does last."""
    return manifest_path(artifacts, stage).exists()


def read_manifests(artifacts: Path) -> dict[str, Manifest]:
    """The manifests in a run's folder by stage, in the order of dvc.yaml.

    One of a stage that dvc.yaml no longer has is left out; without a dvc.yaml all are read, by name.
    """
    there = sorted(path.stem for path in (artifacts / MANIFESTS).glob("*.json"))
    names = [name for name in stage_entries() if name in there] if stage_entries() else there
    return {name: read_manifest(artifacts, name) for name in names}


def pool_path(artifacts: Path) -> list[Manifest]:
    """The stages that have run on the way of the pool to the trained model: `pull`, what takes its rows, and so on."""
    manifests = read_manifests(artifacts)
    path = [manifests[SOURCE]] if SOURCE in manifests else []
    for before in path:
        path += [each for each in manifests.values() if each.takes == before.stage]
    return path


def stage_entries(path: Path = Path("dvc.yaml")) -> dict[str, dict[str, Any]]:
    """The pipeline's stages in the order of dvc.yaml, which alone lists them; none where there is no such file."""
    if not path.exists():
        return {}
    entries: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    return entries


def required_sections() -> list[str]:
    """The sections that params.yaml must have, even empty: DVC refuses a stage whose section is not there."""
    return list(dict.fromkeys(name for entry in stage_entries().values() for name in entry.get("params", [])))


def count_reasons(rejected: pl.DataFrame) -> dict[str, int]:
    """Rows per `reason`, most frequent first."""
    counts = rejected.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return dict(counts.iter_rows())
