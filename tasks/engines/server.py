"""One server that speaks OpenAI's completions protocol: what is known of it, and the few questions it is asked."""

import asyncio
import time
from typing import Any

import httpx

from tasks.engines.replies import Answer, MalformedError, Room, is_too_long, read_answer, read_cards, read_room, refusal
from tasks.errors import LimoError

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
