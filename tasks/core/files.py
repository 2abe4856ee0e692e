"""Reading and writing a stage's files: schemas checked on the way in, all or nothing on the way out."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import LimoError

MANIFEST = "manifest.json"
"""In a stage's scratch folder."""
MANIFESTS = "manifests"
"""Folder of all manifests of a run, artifacts/manifests/STAGE.json: the stages that describe a run depend on it as a
whole, so that one stage more is in their inputs by itself."""
FULL = (errno.ENOSPC, errno.EDQUOT)


def read_table(path: Path, schema: Mapping[str, Any]) -> pl.DataFrame:
    """A Parquet file's columns named in `schema` (further columns are left out), each of the type given there.

    Raises:
        LimoError: the file is missing or torn, or lacks a column, or has one of another type.
    """
    check_table(path, schema)
    return pl.read_parquet(path, columns=list(schema))


def check_table(path: Path, schema: Mapping[str, Any]) -> None:
    """Raise a LimoError unless `read_table` can read the file."""
    if not path.exists():
        raise LimoError(f"{path}: no such file; run the stage that writes it with `dvc repro`")
    try:
        found = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise LimoError(f"{path}: not a readable Parquet file ({one_line(error)}); delete it and rerun") from None
    wrong = [
        f"{name} {found.get(name, 'missing')}, not {kind}" for name, kind in schema.items() if found.get(name) != kind
    ]
    if wrong:
        raise LimoError(f"{path}: wrong columns: {'; '.join(wrong)}; rerun the stage that writes it")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        LimoError: the file is missing or is not JSON (with line and column).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LimoError(f"{path}: no such file; run the stage that writes it with `dvc repro`") from None
    except json.JSONDecodeError as error:
        raise LimoError(f"{path}: not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON by rename, so that a reader never sees half of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Turn "no space left on device", from whatever library writes inside, into one line."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        if getattr(error, "errno", None) in FULL or "No space left" in str(error) or "quota exceeded" in str(error):
            raise LimoError(
                f"{path}: no space left on the device; free some and run again: finished parts are kept"
            ) from None
        raise


def make_folder(path: Path) -> None:
    """Make a folder, and those above it.

    Raises:
        LimoError: it cannot be made, or the disk is full.
    """
    with full_disk(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise LimoError(f"{path}: this folder cannot be made ({error.strerror}: {error.filename})") from None


def manifest_path(artifacts: Path, stage: str) -> Path:
    """Where a stage's manifest lies."""
    return artifacts / MANIFESTS / f"{stage}.json"


@contextmanager
def publish(out: Path) -> Iterator[Path]:
    """A scratch folder whose entries move into `out` when the block ends well, and the manifest, last, to its place.

    When the block raises, or the process dies, nothing of it is seen in `out`.
    """
    scratch, manifest = out / ".part", manifest_path(out.parent, out.name)
    # Beside its place, and so on the same disk, before any table has moved.
    waiting = manifest.with_name(f".{manifest.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    make_folder(scratch)
    try:
        with full_disk(out):
            yield scratch
            if (scratch / MANIFEST).exists():
                make_folder(manifest.parent)
                shutil.move(scratch / MANIFEST, waiting)
            # Never beside the tables of another run.
            manifest.unlink(missing_ok=True)
            for entry in sorted(scratch.iterdir()):
                _replace(entry, out / entry.name)
            if waiting.exists():
                waiting.replace(manifest)
    finally:
        waiting.unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        if not any(out.iterdir()):
            out.rmdir()


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)


def one_line(error: Exception) -> str:
    """An exception's text on one line, at most 200 characters of it; its type's name when it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def code_digest(modules: Iterable[Path]) -> "hashlib._Hash":
    """SHA-256 over the source of `modules`, to which a caller adds what else decides a result."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(modules)))
