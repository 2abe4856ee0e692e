"""Servers that speak OpenAI's completions protocol (`vllm serve`, one or many); the prompt is sent as it is."""

import asyncio
import queue
import random
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import TimeoutError as TooSlow
from contextlib import suppress
from typing import Any

from tasks.core.errors import LimoError
from tasks.engines.params import EngineParams
from tasks.engines.protocol import Request
from tasks.engines.servers import (
    TROUBLE,
    UNREACHABLE,
    BusyError,
    Completion,
    Server,
    Servers,
    UnknownModelError,
    described,
    log,
)
from tasks.records.response import TOO_LONG, Response

TRIES = 8
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CLOSE_SECONDS = 2.0


class OpenAIEngine:
    """One model behind one or several servers; a failed request is retried, on the next server."""

    def __init__(self, name: str, params: EngineParams) -> None:
        """Find the servers among `params.base_urls` that serve the model `name`.

        Raises:
            LimoError: none does, or none answers within `params.patience_seconds`.
        """
        self._name, self._params = name, params
        self._done: queue.Queue[Response | Exception] = queue.Queue()
        self._failure: Exception | None = None
        self._in_flight: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._retried = 0
        self._cut_reported = False
        started = time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._connect(), self._loop).result()
        except BaseException:
            self.close()
            raise
        self._connect_seconds = round(time.monotonic() - started, 2)
        self._check_contexts()

    async def _connect(self) -> None:
        params = self._params
        self._servers = Servers(self._name, params.base_urls, params.concurrency, params.patience_seconds)
        await self._servers.connect()

    @property
    def facts(self) -> dict[str, Any]:
        """The servers and their smallest context, and how often requests and servers failed."""
        servers = self._servers
        return {
            "servers": [server.label for server in servers.all],
            "context": min((server.context for server in servers.all if server.context), default=None),
            "seconds_to_connect": self._connect_seconds,
            "requests_retried": self._retried,
            "servers_lost": servers.lost,
            "servers_back": servers.back,
        }

    def submit(self, requests: Sequence[Request]) -> None:
        """Send requests, in the background."""
        if self._failure:
            # `finished` raises it once nothing is left to return.
            return
        self._in_flight.update(request.response_id for request in requests)
        self._loop.call_soon_threadsafe(self._start, list(requests))

    def finished(self, seconds: float) -> list[Response]:
        """Wait for the first response, up to `seconds`, and return all that have arrived.

        Raises:
            LimoError: a request was refused, or failed at every try; or no server is left. What has finished by then
                is returned first.
        """
        found: list[Response] = []
        until = time.monotonic() + seconds
        with suppress(queue.Empty):
            while True:
                left = 0 if found or self._failure else until - time.monotonic()
                item = self._done.get(timeout=left) if left > 0 else self._done.get_nowait()
                if isinstance(item, Exception):
                    self._failure = self._failure or item
                elif item.response_id in self._in_flight:
                    self._in_flight.discard(item.response_id)
                    found.append(item)
        if self._failure and not found:
            raise self._failure
        return found

    def cancel(self, response_ids: Collection[str]) -> None:
        """Close the connections of these requests; vLLM's server stops generating then."""
        dropped = [key for key in response_ids if key in self._in_flight]
        self._in_flight.difference_update(dropped)
        if dropped:
            self._loop.call_soon_threadsafe(self._drop, dropped)

    def close(self) -> None:
        """Drop what is in flight and end the background thread, within about two seconds."""
        with suppress(TooSlow, RuntimeError):
            asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(timeout=CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=CLOSE_SECONDS)

    async def _shut_down(self) -> None:
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=CLOSE_SECONDS / 2) if others else None
        if hasattr(self, "_servers"):
            await self._servers.close()

    def _start(self, requests: list[Request]) -> None:
        for request in requests:
            self._tasks[request.response_id] = self._loop.create_task(self._finish(request))

    def _drop(self, keys: list[str]) -> None:
        for key in keys:
            if task := self._tasks.pop(key, None):
                task.cancel()

    async def _finish(self, request: Request) -> None:
        try:
            self._done.put(await self._complete(request))
        except Exception as error:
            # Raised again in the sampler's thread, by `finished`.
            self._done.put(error)
        finally:
            self._tasks.pop(request.response_id, None)

    async def _complete(self, request: Request) -> Response:
        """Send it until a server completes it. A refused connection is no try: the request had no part in it."""
        started, tries, pauses, refused_since = time.monotonic(), 0, 0, None
        while True:
            server: Server | None = None
            try:
                async with self._servers.acquire(request.prompt, self._params.timeout_seconds) as server:
                    return await self._send(server, request, started)
            except BusyError as error:
                assert server is not None
                server.mark_healthy()
                self._servers.rest(server, error.seconds)
                problem, refused_since = f"{server.shown}: {error}", refused_since or time.monotonic()
                if time.monotonic() - refused_since > self._params.patience_seconds:
                    raise LimoError(f"{problem}; finished responses are in the ledger") from None
            except TROUBLE as error:
                assert server is not None
                removed = not server.alive
                problem, refused_since = f"{server.shown}: {described(error)}", None
                self._note(server, error)
                tries += not (removed or isinstance(error, UNREACHABLE))
                if tries >= TRIES:
                    raise LimoError(
                        f"{problem}; gave up after {TRIES} tries; finished responses are in the ledger"
                    ) from None
            self._retried += 1
            if server.alive:
                await asyncio.sleep(_pause(pauses))
                pauses += 1

    def _note(self, server: Server, error: Exception) -> None:
        if isinstance(error, UnknownModelError) and len(self._servers.all) == 1:
            raise LimoError(f"{server.shown}: {error}") from None
        self._servers.failed(server, described(error), gone=isinstance(error, (*UNREACHABLE, UnknownModelError)))

    async def _send(self, server: Server, request: Request, started: float) -> Response:
        body = self._body(request)
        completion = await server.complete(body)
        if completion is None:
            count, context = (room := await server.measure(request.prompt)).count, room.max_model_len
            if count >= context:
                return request.finish("", TOO_LONG, count, 0, 0.0)
            self._report_cut(server, context)
            completion = await server.complete(body | {"max_tokens": context - count})
            if completion is None:
                raise LimoError(f"{server.shown}: refuses {context - count} tokens that fit its context")
        server.mark_healthy()
        return self._response(server, request, completion, started)

    def _response(self, server: Server, request: Request, completion: Completion, started: float) -> Response:
        seconds = round(time.monotonic() - started, 3)
        counts = (completion.n_prompt_tokens, completion.n_tokens)
        return request.finish(
            completion.text, completion.reason, *counts, seconds, completion.logprob_sum, server.label
        )

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._name,
            "prompt": request.prompt,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            # Sent even where they do nothing, else the server puts its model's own defaults in their place.
            "top_k": sampling.top_k,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": request.own_seed,
            # vLLM's own: the template holds any start token already.
            "add_special_tokens": False,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self._params.logprobs:
            # Of the tokens drawn alone, before temperature.
            body["logprobs"] = 0
        if sampling.loop_tokens:
            body["repetition_detection"] = {
                "max_pattern_size": sampling.loop_tokens,
                "min_count": sampling.loop_repeats,
            }
        return body

    def _check_contexts(self) -> None:
        known = {server.shown: server.context for server in self._servers.all if server.context}
        if len(set(known.values())) > 1:
            each = ", ".join(f"{url} {context:,}" for url, context in known.items())
            log(f"the servers of `{self._name}` differ in their context ({each} tokens): so do the longest responses")
        stated, least = self._params.max_model_len, min(known.values(), default=None)
        if stated and least and least < stated:
            log(
                f"engine.max_model_len asks for a context of {stated:,} tokens, a server of `{self._name}` has one of "
                f"{least:,}: longer responses are cut there"
            )

    def _report_cut(self, server: Server, context: int) -> None:
        if not self._cut_reported:
            log(f"{server.shown}: max_tokens does not fit its context of {context:,} tokens: responses are cut there")
        self._cut_reported = True


def _pause(before: int) -> float:
    """Seconds to wait after so many pauses: twice as long each time, with jitter so that not all retry at once."""
    longest: float = min(FIRST_PAUSE_SECONDS * 2**before, LONGEST_PAUSE_SECONDS)
    return random.uniform(0.5, 1.0) * longest
