"""The servers of one model: which one gets the next request, which are out, and when they come back.

All of it runs in the engine's event loop. A server is taken out when it refuses a connection, or fails several times in
a row; what it was working on goes to the others at once, and it comes back when it generates again.
"""

import asyncio
import math
import os
import random
import sys
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from tasks.core.errors import LimoError
from tasks.records.response import LOOP

# What a server's replies hold, checked as they are read.

REASONS = {"stop": "stop", "length": "length", "repetition": LOOP}
"""The server's finish reasons in the ledger's words; any other means that the response is not whole."""
CONTEXT_WORDS = ("context length", "maximum model length", "max_model_len", "longer than the maximum")


class MalformedError(Exception):
    """A reply that is not what was asked for; asking again may help."""


class _Logprobs(msgspec.Struct):
    token_logprobs: list[float | None] | None = None


class _Choice(msgspec.Struct):
    text: str
    finish_reason: str
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage


class Card(msgspec.Struct):
    """One entry of a server's list of models."""

    id: str
    max_model_len: int | None = None
    """Tokens of its context; only vLLM says it."""


class _Cards(msgspec.Struct):
    data: list[Card]


class Room(msgspec.Struct):
    """Tokens of a prompt, and of the server's context."""

    count: int
    max_model_len: int


class Answer(msgspec.Struct):
    """A whole response."""

    text: str
    reason: str
    n_prompt_tokens: int
    n_tokens: int
    logprob_sum: float | None


def read_answer(reply: httpx.Response) -> Answer:
    """The response in a reply to a request for a completion.

    Raises:
        MalformedError: it is not JSON, lacks a part, or the server broke the response off.
    """
    completion = _decoded(reply, _Completion)
    if not completion.choices:
        raise MalformedError("a reply without a response")
    choice = completion.choices[0]
    if choice.finish_reason not in REASONS:
        raise MalformedError(f"the server ended a response with {choice.finish_reason}")
    usage = completion.usage
    return Answer(
        choice.text, REASONS[choice.finish_reason], usage.prompt_tokens, usage.completion_tokens, _logprob_sum(choice)
    )


def read_cards(reply: httpx.Response) -> dict[str, Card]:
    """The models of a server, by name.

    Raises:
        MalformedError: it is not a list of models.
    """
    return {card.id: card for card in _decoded(reply, _Cards).data}


def read_room(reply: httpx.Response) -> Room:
    """What /tokenize says of a prompt.

    Raises:
        MalformedError: it says something else.
    """
    return _decoded(reply, Room)


def is_too_long(reply: httpx.Response) -> bool:
    """Whether a server refused because prompt and max_tokens exceed its context."""
    return reply.status_code == 400 and any(words in reply.text for words in CONTEXT_WORDS)


def refusal(reply: httpx.Response) -> str:
    """A reply that is no success, in one line."""
    return f"HTTP {reply.status_code}: {' '.join(reply.text.split())[:200]}"


def _logprob_sum(choice: _Choice) -> float | None:
    given = choice.logprobs.token_logprobs if choice.logprobs else None
    if given is None:
        return None
    known = [value for value in given if value is not None]
    return math.fsum(known) if len(known) == len(given) else None


S = TypeVar("S", bound=msgspec.Struct)


def _decoded(reply: httpx.Response, form: type[S]) -> S:
    try:
        return msgspec.json.decode(reply.content, type=form)
    except msgspec.MsgspecError as error:
        raise MalformedError(f"a malformed reply ({error})") from None


# One server that speaks OpenAI's completions protocol: what is known of it, and the few questions it is asked.

ANSWER_SECONDS = 10.0
"""How long a server may take to connect, to say what it serves, or how it is."""
GENERATE_SECONDS = 60.0
"""How long it may take for one token, when it is to come back."""
BUSY = {408, 409, 425, 429}
"""Come again: nothing is wrong with the server."""
ILL = {500, 502, 503, 504}
GONE = (httpx.ConnectError, httpx.ConnectTimeout)
STRANGER = "serves another model"
A_KEY = "put the key that it asks for into the environment variable OPENAI_API_KEY"
WHAT_TO_DO = {401: A_KEY, 403: A_KEY, 404: "there is no OpenAI server at this path; most are at one that ends in /v1"}
"""What the user must put right: waiting helps nothing."""


class BusyError(Exception):
    """A server that asks to come again, after `seconds` where it says so."""

    def __init__(self, problem: str, seconds: float) -> None:
        """What it said, and what its Retry-After says."""
        super().__init__(problem)
        self.seconds = seconds


class AbsentError(Exception):
    """A server that does not know the model any more."""


TROUBLE = (httpx.HTTPError, MalformedError, AbsentError, TimeoutError)
"""What is wrong with a server or the way to it, and no fault of the request."""


class Server:
    """One server, and what is known of it."""

    def __init__(self, url: str, name: str, client: httpx.AsyncClient) -> None:
        """Nothing known yet; `name` is the model's."""
        self.url = url.rstrip("/")
        self.shown = str(httpx.URL(self.url).copy_with(username=None, password=None))
        """The URL without a password."""
        self.label = self.shown
        """Its version and URL, for the records."""
        self.context: int | None = None
        """Longest prompt plus response, tokens, where it says so."""
        self.refused_with = 0
        """HTTP's status, where it did not say what it serves."""
        self.alive = False
        self.load = 0
        """Requests it works on."""
        self.failures = 0
        """In a row."""
        self.heard = 0.0
        """When it last answered."""
        self.rests_until = 0.0
        self.scopes: set[asyncio.Timeout] = set()
        """The time limits of what it works on: brought forward when it is taken out."""
        self._name, self._client = name, client
        self._root = self.url.removesuffix("/v1")

    def answered(self) -> None:
        """It has answered: all is well with it."""
        self.failures, self.heard = 0, time.monotonic()

    async def greet(self) -> str:
        """Ask what it serves, and which vLLM it is; what is wrong with it, or nothing."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await self._client.get(f"{self.url}/models")
                if reply.status_code != 200:
                    self.refused_with = reply.status_code
                    return refusal(reply)
                card = read_cards(reply).get(self._name)
                if card is None:
                    return STRANGER
                self.context = card.max_model_len
                self.label = await self._version()
        except TROUBLE as error:
            return described(error)
        self.alive = True
        self.answered()
        return ""

    async def _version(self) -> str:
        reply = await self._client.get(f"{self._root}/version")
        try:
            return f"vllm {reply.json()['version']} {self.shown}" if reply.status_code == 200 else self.shown
        except (ValueError, KeyError, TypeError):
            return self.shown

    async def generates(self) -> bool:
        """Whether it gives one token: a server may call itself healthy with its workers dead."""
        body = {"model": self._name, "prompt": "1", "max_tokens": 1, "temperature": 0}
        try:
            async with asyncio.timeout(GENERATE_SECONDS):
                reply = await self._client.post(f"{self.url}/completions", json=body)
            return reply.status_code == 200 and bool(read_answer(reply))
        except TROUBLE:
            return False

    async def ail(self) -> Exception | None:
        """Ask how it is; what is wrong with it, or nothing. One that has no such page is well."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await self._client.get(f"{self._root}/health")
            return MalformedError(refusal(reply)) if reply.status_code >= 500 else None
        except TROUBLE as error:
            return error

    async def complete(self, body: dict[str, Any]) -> Answer | None:
        """Its response; None when prompt and `max_tokens` exceed its context.

        Raises:
            BusyError: it asks to come again.
            MalformedError, AbsentError, httpx.HTTPError: it is not well.
            LimoError: it refuses the request.
        """
        reply = await self._client.post(f"{self.url}/completions", json=body)
        if reply.status_code == 200:
            return read_answer(reply)
        if is_too_long(reply):
            return None
        problem = refusal(reply)
        if reply.status_code in BUSY:
            raise BusyError(problem, _rest_seconds(reply))
        if reply.status_code in ILL:
            raise MalformedError(problem)
        if reply.status_code == 404:
            raise AbsentError(problem)
        raise LimoError(f"{self.shown}: {problem}")

    async def measure(self, prompt: str) -> Room:
        """Tokens of a prompt, and of the context: a refusal does not say whether any response would fit.

        Raises:
            MalformedError, httpx.HTTPError: it is not well.
            LimoError: it has no /tokenize.
        """
        body = {"model": self._name, "prompt": prompt, "add_special_tokens": False}
        reply = await self._client.post(f"{self._root}/tokenize", json=body)
        if reply.status_code in ILL | BUSY:
            raise MalformedError(refusal(reply))
        if reply.status_code != 200:
            raise LimoError(
                f"{self.shown}: prompt and max_tokens exceed its context, and it has no /tokenize: lower max_tokens"
            )
        return read_room(reply)


def described(error: Exception) -> str:
    """What is wrong, in one line."""
    if isinstance(error, MalformedError | AbsentError | BusyError):
        return str(error)
    return f"{type(error).__name__} {error}".rstrip()


def _rest_seconds(reply: httpx.Response) -> float:
    """Retry-After in seconds; one that is a date is not heeded."""
    try:
        return max(0.0, float(reply.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0


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
