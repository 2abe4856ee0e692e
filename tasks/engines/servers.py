"""The servers of one model: which one gets the next request, which are taken out, and when they are back.

All of it runs in the engine's event loop. A server is taken out when it refuses a connection, or fails several times in
a row; what it was working on is sent to the others at once, and it is used again when it generates again.
"""

import asyncio
import math
import os
import random
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec

from tasks.core.errors import LimoError
from tasks.engines.protocol import PrefixAffinity
from tasks.records.response import LOOP

REASONS = {"stop": "stop", "length": "length", "repetition": LOOP}
"""The server's finish reasons in the ledger's terms; any other means that the response is not complete."""
CONTEXT_WORDS = ("context length", "maximum model length", "max_model_len", "longer than the maximum")


class MalformedError(Exception):
    """A reply of the wrong form; a retry may help."""


class _Logprobs(msgspec.Struct):
    token_logprobs: list[float | None] | None = None


class _Choice(msgspec.Struct):
    text: str
    finish_reason: str
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _CompletionReply(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage


class Card(msgspec.Struct):
    """One entry of a server's list of models."""

    id: str
    max_model_len: int | None = None
    """Tokens of its context; only vLLM states it."""


class _Cards(msgspec.Struct):
    data: list[Card]


class Room(msgspec.Struct):
    """Tokens of a prompt, and of the server's context."""

    count: int
    max_model_len: int


class Completion(msgspec.Struct):
    """A complete response."""

    text: str
    reason: str
    n_prompt_tokens: int
    n_tokens: int
    logprob_sum: float | None


def read_completion(reply: httpx.Response) -> Completion:
    """The response in a reply to a request for a completion.

    Raises:
        MalformedError: it is not JSON, lacks a part, or the server broke the response off.
    """
    decoded = _decoded(reply, _CompletionReply)
    if not decoded.choices:
        raise MalformedError("a reply without a response")
    choice = decoded.choices[0]
    if choice.finish_reason not in REASONS:
        raise MalformedError(f"the server ended a response with {choice.finish_reason}")
    usage = decoded.usage
    return Completion(
        choice.text, REASONS[choice.finish_reason], usage.prompt_tokens, usage.completion_tokens, _logprob_sum(choice)
    )


def read_cards(reply: httpx.Response) -> dict[str, Card]:
    """The models of a server, by name.

    Raises:
        MalformedError: it is not a list of models.
    """
    return {card.id: card for card in _decoded(reply, _Cards).data}


def read_room(reply: httpx.Response) -> Room:
    """The reply of /tokenize.

    Raises:
        MalformedError: it is not one.
    """
    return _decoded(reply, Room)


def is_too_long(reply: httpx.Response) -> bool:
    """Whether a server refused because prompt and max_tokens exceed its context."""
    return reply.status_code == 400 and any(words in reply.text for words in CONTEXT_WORDS)


def refusal(reply: httpx.Response) -> str:
    """An unsuccessful reply in one line."""
    return f"HTTP {reply.status_code}: {' '.join(reply.text.split())[:200]}"


def _logprob_sum(choice: _Choice) -> float | None:
    values = choice.logprobs.token_logprobs if choice.logprobs else None
    if values is None:
        return None
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


S = TypeVar("S", bound=msgspec.Struct)


def _decoded(reply: httpx.Response, form: type[S]) -> S:
    try:
        return msgspec.json.decode(reply.content, type=form)
    except msgspec.MsgspecError as error:
        raise MalformedError(f"a malformed reply ({error})") from None


ANSWER_SECONDS = 10.0
"""How long a server may take to connect, to list its models, or to answer a health check."""
GENERATE_SECONDS = 60.0
"""How long it may take for one token before it is used again."""
BUSY = {408, 409, 425, 429}
"""Retry later: nothing is wrong with the server."""
FAILED = {500, 502, 503, 504}
UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout)
OTHER_MODEL = "serves another model"
SET_KEY = "put its key into the environment variable OPENAI_API_KEY"
ADVICE = {401: SET_KEY, 403: SET_KEY, 404: "there is no OpenAI server at this path; most are at one that ends in /v1"}
"""What the user must do: waiting does not help."""


class BusyError(Exception):
    """A server that asks for a retry later."""

    def __init__(self, problem: str, seconds: float) -> None:
        """Args: its reply, and the seconds of its Retry-After."""
        super().__init__(problem)
        self.seconds = seconds


class UnknownModelError(Exception):
    """A server that no longer has the model."""


TROUBLE = (httpx.HTTPError, MalformedError, UnknownModelError, TimeoutError)
"""Faults of a server or the network, not of the request."""


class Server:
    """One server, and what is known of it."""

    def __init__(self, url: str, name: str, client: httpx.AsyncClient) -> None:
        """A server that has not been contacted; `name` is the model's."""
        self.url = url.rstrip("/")
        self.shown = str(httpx.URL(self.url).copy_with(username=None, password=None))
        """The URL without a password."""
        self.label = self.shown
        """Its version and URL, for the records."""
        self.context: int | None = None
        """Longest prompt plus response, tokens, where it states it."""
        self.refused_with = 0
        """HTTP status, where it did not list its models."""
        self.alive = False
        self.load = 0
        """Requests in flight."""
        self.failures = 0
        """In a row."""
        self.last_reply = 0.0
        """When it last replied."""
        self.rests_until = 0.0
        self.scopes: set[asyncio.Timeout] = set()
        """The time limits of what it works on: brought forward when it is taken out."""
        self._name, self._client = name, client
        self._root = self.url.removesuffix("/v1")

    def mark_healthy(self) -> None:
        """Note a good reply."""
        self.failures, self.last_reply = 0, time.monotonic()

    async def connect(self) -> str:
        """Read its models and its vLLM's version; returns what is wrong with it, or an empty text."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await self._client.get(f"{self.url}/models")
                if reply.status_code != 200:
                    self.refused_with = reply.status_code
                    return refusal(reply)
                card = read_cards(reply).get(self._name)
                if card is None:
                    return OTHER_MODEL
                self.context = card.max_model_len
                self.label = await self._version()
        except TROUBLE as error:
            return described(error)
        self.alive = True
        self.mark_healthy()
        return ""

    async def _version(self) -> str:
        reply = await self._client.get(f"{self._root}/version")
        try:
            return f"vllm {reply.json()['version']} {self.shown}" if reply.status_code == 200 else self.shown
        except (ValueError, KeyError, TypeError):
            return self.shown

    async def generates(self) -> bool:
        """Whether it generates one token: a server may call itself healthy with its workers dead."""
        body = {"model": self._name, "prompt": "1", "max_tokens": 1, "temperature": 0}
        try:
            async with asyncio.timeout(GENERATE_SECONDS):
                reply = await self._client.post(f"{self.url}/completions", json=body)
            return reply.status_code == 200 and bool(read_completion(reply))
        except TROUBLE:
            return False

    async def check_health(self) -> Exception | None:
        """What is wrong with it, or None. One that has no page /health is well."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await self._client.get(f"{self._root}/health")
            return MalformedError(refusal(reply)) if reply.status_code >= 500 else None
        except TROUBLE as error:
            return error

    async def complete(self, body: dict[str, Any]) -> Completion | None:
        """Its response; None when prompt and `max_tokens` exceed its context.

        Raises:
            BusyError: it asks for a retry later.
            MalformedError, UnknownModelError, httpx.HTTPError: it has failed.
            LimoError: it refuses the request.
        """
        reply = await self._client.post(f"{self.url}/completions", json=body)
        if reply.status_code == 200:
            return read_completion(reply)
        if is_too_long(reply):
            return None
        problem = refusal(reply)
        if reply.status_code in BUSY:
            raise BusyError(problem, _rest_seconds(reply))
        if reply.status_code in FAILED:
            raise MalformedError(problem)
        if reply.status_code == 404:
            raise UnknownModelError(problem)
        raise LimoError(f"{self.shown}: {problem}")

    async def measure(self, prompt: str) -> Room:
        """Tokens of a prompt, and of the context: a refusal does not say whether any response would fit.

        Raises:
            MalformedError, httpx.HTTPError: it has failed.
            LimoError: it has no /tokenize.
        """
        body = {"model": self._name, "prompt": prompt, "add_special_tokens": False}
        reply = await self._client.post(f"{self._root}/tokenize", json=body)
        if reply.status_code in FAILED | BUSY:
            raise MalformedError(refusal(reply))
        if reply.status_code != 200:
            raise LimoError(
                f"{self.shown}: prompt and max_tokens exceed its context, and it has no /tokenize: lower max_tokens"
            )
        return read_room(reply)


def described(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, MalformedError | UnknownModelError | BusyError):
        return str(error)
    return f"{type(error).__name__} {error}".rstrip()


def _rest_seconds(reply: httpx.Response) -> float:
    """Retry-After in seconds; one that is a date is ignored."""
    try:
        return max(0.0, float(reply.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0


FAILURES_IN_A_ROW = 3
FIRST_PROBE_SECONDS = 1.0
LONGEST_PROBE_SECONDS = 30.0
WATCH_SECONDS = 30.0
"""Health-check a busy server after this many silent seconds."""
REMEMBERED_PROMPTS = 100_000
"""Prompts whose server (prefix-cache affinity) is remembered."""


class Servers:
    """All servers of one model."""

    def __init__(self, name: str, urls: tuple[str, ...], concurrency: int, patience: float) -> None:
        """Servers that have not been contacted. Call it inside the event loop.

        Args:
            name: the model's, as servers know it.
            concurrency: requests in flight at once, over all servers.
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
        self._limit = max(1, -(-concurrency // len(self.all)))
        self._waiting: deque[tuple[asyncio.Future[Server], str]] = deque()
        self._affinity: PrefixAffinity[Server] = PrefixAffinity(REMEMBERED_PROMPTS)
        self._silent_since = time.monotonic()
        self._given_up: LimoError | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> list[Server]:
        """Those that answer."""
        return [server for server in self.all if server.alive]

    async def connect(self) -> None:
        """Connect to every server; returns when one serves the model, and keeps trying those that are down.

        Raises:
            LimoError: none serves it, none answers within the patience, or one refuses access.
        """
        problems = await asyncio.gather(*(server.connect() for server in self.all))
        for server, problem in zip(self.all, problems, strict=True):
            if advice := ADVICE.get(server.refused_with):
                raise LimoError(f"engine.base_urls: {server.shown}: {problem}; {advice}")
        if all(problem == OTHER_MODEL for problem in problems):
            raise LimoError(
                f"engine.base_urls: no server serves a model named `{self._name}`: start one with `limo serve "
                f"{self._name}` (or `vllm serve PATH --served-model-name {self._name}`), or name its URL"
            )
        for server, problem in zip(list(self.all), problems, strict=True):
            if problem == OTHER_MODEL:
                log(f"{server.shown}: serves no model named `{self._name}`: left out")
                self.all.remove(server)
            elif problem:
                log(f"{server.shown}: left out until it answers ({problem})")
                self._start(self._revive(server))
        self._start(self._watch())
        self._start(self._give_up_in_time())
        while not self.alive and not self._given_up:
            await asyncio.sleep(0.05)
        if self._given_up:
            raise self._given_up

    @asynccontextmanager
    async def acquire(self, prompt: str, seconds: float) -> AsyncIterator[Server]:
        """A slot at a server, for up to `seconds`; waits until there is one.

        Raises:
            LimoError: no server answers, and has not for as long as the patience.
            TimeoutError: it took longer, or the server was taken out meanwhile.
        """
        server = await self._slot(prompt)
        scope = asyncio.timeout(seconds if server.alive else 0)
        try:
            async with scope:
                server.scopes.add(scope)
                yield server
        finally:
            server.scopes.discard(scope)
            server.load -= 1
            self._assign()

    async def _slot(self, prompt: str) -> Server:
        if self._given_up:
            raise self._given_up
        slot: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self._waiting.append((slot, prompt))
        self._assign()
        try:
            return await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled() and not slot.exception():
                slot.result().load -= 1
                self._assign()
            raise

    def rest(self, server: Server, seconds: float) -> None:
        """Send it nothing for so long, as it asked (at most for the patience)."""
        if seconds > 0:
            server.rests_until = time.monotonic() + min(seconds, self._patience)
            asyncio.get_running_loop().call_later(min(seconds, self._patience) + 0.01, self._assign)

    def failed(self, server: Server, problem: str, *, gone: bool = False) -> None:
        """Note a failure; the server is taken out at once when it is `gone`, else at the third time in a row."""
        server.failures += 1
        if not server.alive or not (gone or server.failures >= FAILURES_IN_A_ROW):
            return
        server.alive = False
        self.lost += 1
        left = f"{len(self.alive)} of {len(self.all)} servers left" if self.alive else "no server left"
        log(f"{server.shown}: taken out ({problem}); {left}; used again when it generates again")
        for scope in server.scopes:
            if not scope.expired():
                scope.reschedule(0)
        if not self.alive:
            self._silent_since = time.monotonic()
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

    def _assign(self) -> None:
        while self._waiting:
            slot, prompt = self._waiting[0]
            if not slot.done():
                server = self._choose(prompt)
                if server is None:
                    return
                server.load += 1
                slot.set_result(server)
            self._waiting.popleft()

    def _choose(self, prompt: str) -> Server | None:
        now = time.monotonic()
        loads = {one: one.load for one in self.alive if one.load < self._limit and one.rests_until <= now}
        return self._affinity.choose(prompt, loads, self._limit // 4) if loads else None

    async def _revive(self, server: Server) -> None:
        """Request one token now and then, until it is generated."""
        since, pause = time.monotonic(), FIRST_PROBE_SECONDS
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PROBE_SECONDS)
            if await server.generates() and not await server.connect():
                break
        self.back += 1
        log(f"{server.shown}: back after {time.monotonic() - since:,.0f} s")
        self._assign()

    async def _watch(self) -> None:
        """Check the health of silent busy servers: a machine that lost its power closes no connection."""
        while True:
            await asyncio.sleep(WATCH_SECONDS / 3)
            now = time.monotonic()
            await asyncio.gather(
                *(self._check(one) for one in self.alive if one.load and now - one.last_reply > WATCH_SECONDS)
            )

    async def _check(self, server: Server) -> None:
        if problem := await server.check_health():
            self.failed(server, described(problem), gone=isinstance(problem, UNREACHABLE))

    async def _give_up_in_time(self) -> None:
        """Give up when no server has answered for as long as the patience."""
        while self.alive or time.monotonic() - self._silent_since < self._patience:
            await asyncio.sleep(min(1.0, self._patience / 10))
        self._given_up = LimoError(
            f"engine.base_urls: no server of `{self._name}` has answered for {self._patience:,.0f} s: "
            f"{', '.join(server.shown for server in self.all)}; start one and rerun; finished responses are in the "
            "ledger"
        )
        for slot, _ in self._waiting:
            if not slot.done():
                slot.set_exception(self._given_up)


def _key() -> dict[str, str]:
    """The header with the user's key, if any."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    return {"Authorization": f"Bearer {key}"} if key else {}


def log(line: str) -> None:
    """Print one line for the user."""
    print(f"limo: {line}", file=sys.stderr, flush=True)
