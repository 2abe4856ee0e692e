"""One line about progress now and then, on stderr."""

import sys
import time

EVERY_SECONDS = 10.0


class Progress:
    """Speed, what is decided, and how long it may take yet."""

    def __init__(self, name: str, groups: int) -> None:
        """Progress of the stage `name` over `groups` questions."""
        self._name = name
        self._groups = groups
        self.start(0)

    def start(self, known: int) -> None:
        """Count from here: `known` responses were there before."""
        self._known = known
        self._started = self._told = time.monotonic()

    def due(self) -> bool:
        """Whether the last line is old enough."""
        return time.monotonic() - self._told >= EVERY_SECONDS

    def tell(self, decided: int, known: int, tokens: int, left: int) -> None:
        """Tell the state of things; `left` responses may still be needed, at most."""
        self._told = time.monotonic()
        seconds = self._told - self._started
        rate = (known - self._known) / seconds
        eta = f"at most {left / rate / 60:.1f} min left" if rate else "time left unknown"
        print(
            f"{self._name}: {decided:,} of {self._groups:,} decided, {known:,} responses ({self._known:,} from the "
            f"ledger), {tokens / seconds:,.0f} tok/s, {eta}",
            file=sys.stderr,
            flush=True,
        )
