"""The servers of one model: which one gets the next request, which are out, and when they come back.

All of it runs in the engine's event loop. A server is taken out when it refuses a connection, or fails several times in
a row; what it was working on goes to the others at once, and it comes back when it generates again.
"""

import asyncio
import os
import random
import sys
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

import httpx

from tasks.engines.server import ANSWER_SECONDS, GONE, STRANGER, WHAT_TO_DO, Server, described
from tasks.errors import LimoError

FAILURES_IN_A_ROW = 3
FIRST_PROBE_SECONDS = 1.0
LONGEST_PROBE_SECONDS = 30.0
WATCH_SECONDS = 30.0
"""A server that works and says nothing for so long is asked how it is."""
HOMES = 100_000
"""Of so many prompts it is kept where they were last sent."""


class Servers:
    """All servers of one model."""

    def __init__(self, name: str, urls: tuple[str, ...], places: int, patience: float) -> None:
        """Servers that are not yet asked. Made inside the event loop.

        Args:
            name: the model's, as servers know it.
            places: requests in flight at once, over all servers.
            patience: seconds without any server that answers, after which requests fail.
        """
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=ANSWER_SECONDS), limits=limits, headers=_key()
        )
        self.all = [Server(url, name, self._client) for url in dict.fromkeys(urls)]
        self.lost = self.back = 0
        self._name = name
        self._patience = patience
        self._limit = max(1, -(-places // len(self.all)))
        self._waiting: deque[tuple[asyncio.Future[Server], str]] = deque()
        self._homes: OrderedDict[str, Server] = OrderedDict()
        self._dark_since = time.monotonic()
        self._given_up: LimoError | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> list[Server]:
        """Those that answer."""
        return [server for server in self.all if server.alive]

    async def connect(self) -> None:
        """Ask every server what it serves; returns when one serves the model, and goes on asking those that are down.

        Raises:
            LimoError: none serves it, none answers within the patience, or one does not let us in.
        """
        problems = await asyncio.gather(*(server.greet() for server in self.all))
        for server, problem in zip(self.all, problems, strict=True):
            if advice := WHAT_TO_DO.get(server.refused_with):
                raise LimoError(f"engine.base_urls: {server.shown}: {problem}; {advice}")
        if all(problem == STRANGER for problem in problems):
            raise LimoError(
                f"engine.base_urls: no server serves a model named `{self._name}`: start one with `limo serve "
                f"{self._name}` (or `vllm serve PATH --served-model-name {self._name}`), or name its URL"
            )
        for server, problem in zip(list(self.all), problems, strict=True):
            if problem == STRANGER:
                tell(f"{server.shown}: serves no model named `{self._name}`: left out")
                self.all.remove(server)
            elif problem:
                tell(f"{server.shown}: left out until it answers ({problem})")
                self._start(self._revive(server))
        self._start(self._watch())
        self._start(self._wait_in_the_dark())
        while not self.alive and not self._given_up:
            await asyncio.sleep(0.05)
        if self._given_up:
            raise self._given_up

    @asynccontextmanager
    async def lend(self, prompt: str, seconds: float) -> AsyncIterator[Server]:
        """A place at a server, for up to `seconds`; waits until there is one.

        Raises:
            LimoError: no server answers, and has not for as long as the patience.
            TimeoutError: it took longer, or the server was taken out meanwhile.
        """
        server = await self._place(prompt)
        scope = asyncio.timeout(seconds if server.alive else 0)
        try:
            async with scope:
                server.scopes.add(scope)
                yield server
        finally:
            server.scopes.discard(scope)
            server.load -= 1
            self._hand_out()

    async def _place(self, prompt: str) -> Server:
        if self._given_up:
            raise self._given_up
        place: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, prompt))
        self._hand_out()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and not place.exception():
                place.result().load -= 1
                self._hand_out()
            raise

    def rest(self, server: Server, seconds: float) -> None:
        """It asked to be left alone for so long (at most for the patience)."""
        if seconds > 0:
            server.rests_until = time.monotonic() + min(seconds, self._patience)
            asyncio.get_running_loop().call_later(min(seconds, self._patience) + 0.01, self._hand_out)

    def failed(self, server: Server, problem: str, *, gone: bool = False) -> None:
        """It has failed; it is taken out at once when it is `gone`, else at the third time in a row."""
        server.failures += 1
        if not server.alive or not (gone or server.failures >= FAILURES_IN_A_ROW):
            return
        server.alive = False
        self.lost += 1
        left = f"{len(self.alive)} of {len(self.all)} servers left" if self.alive else "no server left"
        tell(f"{server.shown}: taken out ({problem}); {left}; it comes back when it generates again")
        for scope in server.scopes:
            if not scope.expired():
                scope.reschedule(0)
        if not self.alive:
            self._dark_since = time.monotonic()
        self._start(self._revive(server))

    async def close(self) -> None:
        """Drop the connections."""
        for task in self._tasks:
            task.cancel()
        await self._client.aclose()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _hand_out(self) -> None:
        while self._waiting:
            place, prompt = self._waiting[0]
            if not place.done():
                server = self._choose(prompt)
                if server is None:
                    return
                server.load += 1
                place.set_result(server)
            self._waiting.popleft()

    def _choose(self, prompt: str) -> Server | None:
        """The server with the least to do; but samples of one prompt get the same, which has computed it already.

        Unless that one is fuller than another by more than a quarter of its places.
        """
        now = time.monotonic()
        free = [one for one in self.alive if one.load < self._limit and one.rests_until <= now]
        if not free:
            return None
        least = min(free, key=lambda server: server.load)
        home = self._homes.get(prompt)
        chosen = home if home in free and home.load <= least.load + self._limit // 4 else least
        self._homes[prompt] = chosen
        self._homes.move_to_end(prompt)
        if len(self._homes) > HOMES:
            self._homes.popitem(last=False)
        return chosen

    async def _revive(self, server: Server) -> None:
        """Ask for one token now and then, until it comes."""
        since, pause = time.monotonic(), FIRST_PROBE_SECONDS
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PROBE_SECONDS)
            if await server.generates() and not await server.greet():
                break
        self.back += 1
        tell(f"{server.shown}: back after {time.monotonic() - since:,.0f} s")
        self._hand_out()

    async def _watch(self) -> None:
        """Ask servers that work in silence how they are: a machine that lost its power closes no connection."""
        while True:
            await asyncio.sleep(WATCH_SECONDS / 3)
            now = time.monotonic()
            await asyncio.gather(
                *(self._check(one) for one in self.alive if one.load and now - one.heard > WATCH_SECONDS)
            )

    async def _check(self, server: Server) -> None:
        if problem := await server.ail():
            self.failed(server, described(problem), gone=isinstance(problem, GONE))

    async def _wait_in_the_dark(self) -> None:
        """Give up when no server has answered for as long as the patience."""
        while self.alive or time.monotonic() - self._dark_since < self._patience:
            await asyncio.sleep(min(1.0, self._patience / 10))
        self._given_up = LimoError(
            f"engine.base_urls: no server of `{self._name}` has answered for {self._patience:,.0f} s: "
            f"{', '.join(server.shown for server in self.all)}; start one and rerun: what had finished is in the ledger"
        )
        for place, _ in self._waiting:
            if not place.done():
                place.set_exception(self._given_up)


def _key() -> dict[str, str]:
    """The header with the user's key, where there is one."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    return {"Authorization": f"Bearer {key}"} if key else {}


def tell(line: str) -> None:
    """One line for the user."""
    print(f"limo: {line}", file=sys.stderr, flush=True)
