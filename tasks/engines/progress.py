"""One line about progress now and then, on stderr."""

import sys
import time
from pathlib import Path

EVERY_SECONDS = 10.0


class Progress:
    """Speed, what is decided, and how long it may take yet."""

    def __init__(self, name: str, groups: int, _folder: Path | None = None) -> None:
        """Progress of the stage `name` over `groups` questions."""
        self._name = name
        self._groups = groups
        self.start(0, 0)

    def __enter__(self) -> "Progress":
        """The progress itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def start(self, known: int, _decided: int) -> None:
        """Count from here: `known` responses were there before."""
        self._known = known
        self._started = self._told = time.monotonic()

    def tell(self, decided: int, known: int, tokens: int, saved: int, left: int) -> None:
        """Tell the state of things now and then; `left` responses may still be needed, at most."""
        if time.monotonic() - self._told < EVERY_SECONDS:
            return
        self._told = time.monotonic()
        seconds = self._told - self._started
        rate = (known - self._known) / seconds
        eta = f"at most {left / rate / 60:.1f} min left" if rate else "time left unknown"
        print(
            f"{self._name}: {decided:,} of {self._groups:,} decided, {known:,} responses ({self._known:,} from the "
            f"ledger), {tokens / seconds:,.0f} tok/s, {saved:,} tokens saved, {eta}",
            file=sys.stderr,
            flush=True,
        )
