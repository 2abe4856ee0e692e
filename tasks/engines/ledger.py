"""The response ledger: every response once, on disk as it finishes, never lost and never generated again.

One folder per model, in it immutable Parquet segments. A segment is written under a temporary name, synced and renamed,
so readers never see half of one, and two writers never touch the same file. What a broken disk or copy has torn is set
aside as `*.torn`, and only its responses are generated again.
"""

import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from tasks.errors import LimoError
from tasks.records.response import RESPONSE, Response


class Ledger:
    """The responses of one model. Close it (or use it as a context manager) so that nothing waits in memory."""

    def __init__(self, folder: Path, model_id: str, flush_responses: int = 512, flush_seconds: float = 30) -> None:
        """Open the model's folder under `folder`; it is made when the first response is written."""
        self._folder = folder / model_id
        self._flush_responses = flush_responses
        self._flush_seconds = flush_seconds
        self._waiting: list[Response] = []
        self._flushed = time.monotonic()

    def __enter__(self) -> "Ledger":
        """The ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, whatever ended the block."""
        self.flush()

    def lookup(self, response_ids: Iterable[str]) -> dict[str, Response]:
        """The responses that are there, by id; where two writers wrote the same one, the older."""
        wanted = pl.DataFrame({"response_id": list(response_ids)}, schema={"response_id": pl.String})
        segments = [path for path in sorted(self._folder.glob("*.parquet")) if _sound(path)]
        if not segments or wanted.is_empty():
            return {}
        try:
            found = _matching(segments, wanted)
        except (pl.exceptions.PolarsError, OSError):
            found = pl.concat([_matching([path], wanted) for path in segments if _sound(path, whole=True)] or [_NONE])
        return {row["response_id"]: Response(**row) for row in reversed(found.to_dicts())}

    def scan(self, wanted: pl.DataFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Rows of `wanted` (response_id and more) with `columns` of what is there, the oldest first."""
        for path in [path for path in sorted(self._folder.glob("*.parquet")) if _sound(path)]:
            rows = pl.scan_parquet(path).select("response_id", *columns)
            yield rows.join(wanted.lazy(), on="response_id", maintain_order="left").collect()

    def add(self, responses: Sequence[Response]) -> None:
        """Take finished responses; they are on disk after the next flush."""
        self._waiting += responses
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write what waits once there is enough of it, or it has waited long enough."""
        overdue = time.monotonic() - self._flushed >= self._flush_seconds
        if len(self._waiting) >= self._flush_responses or overdue:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one new segment."""
        self._flushed = time.monotonic()
        if not self._waiting:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
        scratch = self._folder / f"{name}.tmp"
        with scratch.open("wb") as file:
            pl.DataFrame([response.model_dump() for response in self._waiting], schema=RESPONSE).write_parquet(file)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(self._folder / f"{name}.parquet")
        _sync_folder(self._folder)
        self._waiting.clear()


_NONE = pl.DataFrame(schema=RESPONSE)


def _matching(segments: list[Path], wanted: pl.DataFrame) -> pl.DataFrame:
    scan = pl.scan_parquet(segments).select(RESPONSE.names())
    return scan.join(wanted.lazy().unique(), on="response_id", how="semi", maintain_order="left").collect()


def _sound(path: Path, *, whole: bool = False) -> bool:
    """Whether a segment can be read (its footer, or `whole`); one that cannot is set aside with a warning."""
    try:
        problem = "" if pl.read_parquet_schema(path) == RESPONSE else "not the columns of a response"
        if whole and not problem:
            pl.read_parquet(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        # Too many open files, no right to read: the segment itself may be sound.
        raise LimoError(f"{path}: cannot be read ({error})") from None
    except pl.exceptions.PolarsError as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
    if problem:
        aside = path.with_name(path.name + ".torn")
        path.rename(aside)
        print(f"limo: {aside}: torn segment set aside ({problem}); its responses are generated again", file=sys.stderr)
    return not problem


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
