"""Servers that speak OpenAI's completions protocol (`vllm serve`, one or many), given the prompt as it stands."""

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import httpx

from tasks.engines.params import EngineParams
from tasks.engines.protocol import Request
from tasks.errors import LimoError
from tasks.records.response import TOO_LONG, Response

TRIES = 8
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}
CONTEXT_WORDS = ("context length", "maximum model length", "max_model_len", "longer than the maximum")


class _Room(NamedTuple):
    prompt: int
    context: int


class OpenAIEngine:
    """One model behind one or several servers; a failed request is tried again, on the next server."""

    def __init__(self, name: str, params: EngineParams) -> None:
        """Find the servers among `params.base_urls` that serve the model `name`.

        Raises:
            LimoError: none does, or one cannot be reached.
        """
        self._name = name
        self._timeout = httpx.Timeout(params.timeout_seconds, connect=10)
        self._urls = [url.rstrip("/") for url in params.base_urls if name in served(url)]
        if not self._urls:
            raise LimoError(
                f"engine.base_urls: no server serves a model named `{name}`: start `vllm serve PATH "
                f"--served-model-name {name}`, or name its URL"
            )
        self._turn = itertools.count()
        self._places = params.places
        self._done: queue.Queue[Response | Exception] = queue.Queue()
        self._flying: dict[str, Future[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = asyncio.run_coroutine_threadsafe(self._connect(), self._loop).result()

    async def _connect(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=self._places, max_keepalive_connections=self._places)
        return httpx.AsyncClient(timeout=self._timeout, limits=limits)

    @property
    def facts(self) -> dict[str, Any]:
        """Nothing yet."""
        return {}

    def submit(self, requests: Sequence[Request]) -> None:
        """Send requests, in the background."""
        for request in requests:
            self._flying[request.response_id] = asyncio.run_coroutine_threadsafe(self._answer(request), self._loop)

    def finished(self, seconds: float) -> list[Response]:
        """Wait for the first response, up to `seconds`, and take all that are there.

        Raises:
            LimoError: a request was refused, or failed at every try.
        """
        found: list[Response] = []
        try:
            found.append(self._take(seconds))
            while True:
                found.append(self._take(0))
        except queue.Empty:
            return found

    def _take(self, seconds: float) -> Response:
        item = self._done.get(timeout=seconds) if seconds else self._done.get_nowait()
        if isinstance(item, Exception):
            raise item
        self._flying.pop(item.response_id, None)
        return item

    def cancel(self, response_ids: Collection[str]) -> None:
        """Close the connections of these requests; vLLM's server stops generating then."""
        for key in response_ids:
            if future := self._flying.pop(key, None):
                future.cancel()

    def close(self) -> None:
        """Drop what is in flight and end the background thread."""
        self.cancel(list(self._flying))
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    async def _answer(self, request: Request) -> None:
        try:
            self._done.put(await self._tried(request))
        except Exception as error:
            # Raised again in the sampler's thread, by `finished`.
            self._done.put(error)

    async def _tried(self, request: Request) -> Response:
        started, pause, problem = time.monotonic(), FIRST_PAUSE_SECONDS, ""
        for _ in range(TRIES):
            url = self._urls[next(self._turn) % len(self._urls)]
            try:
                reply = await self._client.post(f"{url}/completions", json=self._body(request))
                if _too_long(reply):
                    prompt, context = await self._measure(url, request)
                    if prompt >= context:
                        return request.finish("", TOO_LONG, prompt, 0, 0.0)
                    body = self._body(request) | {"max_tokens": context - prompt}
                    reply = await self._client.post(f"{url}/completions", json=body)
                if reply.status_code == 200:
                    return _response(request, reply.json(), time.monotonic() - started)
                problem = f"{url}: HTTP {reply.status_code}: {' '.join(reply.text.split())[:200]}"
                if reply.status_code not in RETRIED:
                    raise LimoError(problem)
            except (httpx.RequestError, ValueError, KeyError) as error:
                problem = f"{url}: {type(error).__name__} {error}".rstrip()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        raise LimoError(f"{problem}; gave up after {TRIES} tries; what had finished is in the ledger")

    async def _measure(self, url: str, request: Request) -> _Room:
        """Tokens of a prompt, and of the server's context: its refusal does not say whether any response would fit."""
        body = {"model": self._name, "prompt": request.prompt, "add_special_tokens": False}
        reply = await self._client.post(f"{url.removesuffix('/v1')}/tokenize", json=body)
        if reply.status_code != 200:
            raise LimoError(
                f"{url}: prompt and max_tokens exceed its context, and it has no /tokenize: lower max_tokens"
            )
        measured = reply.json()
        return _Room(measured["count"], measured["max_model_len"])

    def _body(self, request: Request) -> dict[str, Any]:
        asked = request.sampling
        body: dict[str, Any] = {
            "model": self._name,
            "prompt": request.prompt,
            "max_tokens": asked.max_tokens,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            # Said even where they do nothing, else the server puts its model's own defaults in their place.
            "top_k": asked.top_k,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": request.own_seed,
            # vLLM's own: the template holds any start token already.
            "add_special_tokens": False,
        }
        if asked.stop:
            body["stop"] = list(asked.stop)
        return body


def served(url: str) -> list[str]:
    """The models that a server serves.

    Raises:
        LimoError: it cannot be reached.
    """
    try:
        reply = httpx.get(f"{url.rstrip('/')}/models", timeout=10).raise_for_status()
        return [str(model["id"]) for model in reply.json()["data"]]
    except (httpx.HTTPError, KeyError, ValueError) as error:
        raise LimoError(f"engine.base_urls: {url}: no list of models ({type(error).__name__}: {error})") from None


def _too_long(reply: httpx.Response) -> bool:
    return reply.status_code == 400 and any(words in reply.text for words in CONTEXT_WORDS)


def _response(request: Request, reply: dict[str, Any], seconds: float) -> Response:
    choice, usage = reply["choices"][0], reply.get("usage") or {}
    reason = choice["finish_reason"]
    if reason not in ("stop", "length"):
        raise ValueError(f"the server ended a response with {reason}")
    prompt_tokens, tokens = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return request.finish(choice["text"], reason, prompt_tokens, tokens, round(seconds, 3))
