"""Which sample to ask for next: what is needed in any case first, then new questions, then what may be needed.

Samples of one prompt that are certain to count are asked for one after another, so that they share its prefix; none of
them is ever in vain. New prompts are taken up in order as places fall free. Only when none is left, at the end of a
run, places are filled with samples that may turn out not to count: nearest to the certain ones first.
"""

from collections import deque
from heapq import heapify, heappop, heapreplace

from tasks.engines.protocol import Request
from tasks.sampling.groups import Series


class Schedule:
    """The samples in flight, and those to ask for."""

    def __init__(self, series: list[Series]) -> None:
        """Nothing in flight."""
        self._series = series
        self._fresh = deque(range(len(series)))
        self._needed: deque[int] = deque()
        self._flying: dict[str, tuple[int, int]] = {}
        """By response id: number of the series, sample index."""
        self.open = {number for number, one in enumerate(series) if not one.decided}
        """Numbers of the undecided series."""

    @property
    def flying(self) -> int:
        """Samples in flight."""
        return len(self._flying)

    def next(self, places: int) -> list[Request]:
        """Requests to send now, so that `places` are in flight, or as many as there are."""
        asked: list[Request] = []
        while self.flying < places and (self._needed or self._fresh):
            number = (self._needed or self._fresh).popleft()
            series = self._series[number]
            if number in self.open and series.next < series.floor:
                asked.append(self._ask(number))
                self._needed.appendleft(number)
        if self.flying < places:
            asked += self._speculate(places)
        return asked

    def _speculate(self, places: int) -> list[Request]:
        """Samples beyond the certain ones; those of all open series in turn, each step one further."""
        asked: list[Request] = []
        near = [
            (one.next - one.floor, number) for number in self.open if (one := self._series[number]).next < one.bound
        ]
        heapify(near)
        while near and self.flying < places:
            distance, number = near[0]
            asked.append(self._ask(number))
            if self._series[number].next < self._series[number].bound:
                heapreplace(near, (distance + 1, number))
            else:
                heappop(near)
        return asked

    def _ask(self, number: int) -> Request:
        request = self._series[number].ask()
        self._flying[request.response_id] = (number, request.sample_index)
        return request

    def landed(self, response_id: str) -> tuple[int, int] | None:
        """Series and sample index of a response that was in flight; None when it was not, or no longer."""
        return self._flying.pop(response_id, None)

    def update(self, number: int) -> list[str]:
        """Take note that more is known of a series; returns the ids of its samples in flight that cannot count now."""
        series = self._series[number]
        if series.decided:
            self.open.discard(number)
        elif series.next < series.floor:
            self._needed.append(number)
        beyond = series.ids(series.bound, series.next) if series.next > series.bound else []
        return [key for key in beyond if self._flying.pop(key, None)]
