"""What an engine is: requests in, finished responses out, in whatever order they finish."""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from tasks.engines.params import EngineParams, SamplingParams
from tasks.records.ids import content_id, content_ids
from tasks.records.response import Response


class Request(NamedTuple):
    """One response to generate; all that decides its text."""

    model_id: str
    prompt: str
    """The whole text, chat template included."""
    sampling: SamplingParams
    sample_index: int
    response_id: str

    @property
    def own_seed(self) -> int | None:
        """The seed of this sample alone, 31 bits; None when greedy."""
        if self.sampling.temperature == 0:
            return None
        digest = content_id("seed", self.sampling.seed, self.prompt, self.sample_index)
        return int(digest[-8:], 16) >> 1

    def finish(
        self,
        text: str,
        reason: str,
        n_prompt_tokens: int,
        n_tokens: int,
        seconds: float,
        logprob_sum: float | None = None,
        engine: str = "",
    ) -> Response:
        """The record of this request's response, which finished just now."""
        return Response(
            response_id=self.response_id,
            model_id=self.model_id,
            prompt=self.prompt,
            sampling=canonical(self.sampling),
            seed=base_seed(self.sampling),
            sample_index=self.sample_index,
            text=text,
            finish_reason=reason,
            n_prompt_tokens=n_prompt_tokens,
            n_tokens=n_tokens,
            seconds=seconds,
            logprob_sum=logprob_sum,
            engine=engine,
            finished_at=round(time.time(), 3),
        )


class Engine(Protocol):
    """Generates responses. Not thread-safe: one sampler drives it."""

    @property
    def facts(self) -> dict[str, Any]:
        """What it runs with, and what happened to it: seconds to start, context, restarts."""

    def submit(self, requests: Sequence[Request]) -> None:
        """Send requests; returns at once. The samples of one prompt come one after the other."""

    def finished(self, seconds: float) -> list[Response]:
        """The responses that finished since the last call; waits for the first, but no longer than about `seconds`."""

    def cancel(self, response_ids: Collection[str]) -> None:
        """Stop generating these; one that has just finished may still be returned."""

    def close(self) -> None:
        """Free memory and workers."""


def make_request(model_id: str, prompt: str, sampling: SamplingParams, sample_index: int) -> Request:
    """A request with its id."""
    found = response_ids(model_id, prompt, sampling, [sample_index])
    return Request(model_id, prompt, sampling, sample_index, found[0])


def response_ids(model_id: str, prompt: str, sampling: SamplingParams, indices: Iterable[int]) -> list[str]:
    """The ids of samples: the hash of model, prompt, sampling parameters, seed and sample index."""
    return content_ids("r", (model_id, prompt, canonical(sampling), base_seed(sampling)), indices)


def response_id(model_id: str, prompt: str, sampling: str, seed: int, sample_index: int) -> str:
    """The id of one response, `sampling` as canonical JSON."""
    return content_id("r", model_id, prompt, sampling, seed, sample_index)


@lru_cache(maxsize=1024)
def canonical(sampling: SamplingParams) -> str:
    """Sampling parameters as canonical JSON, without the seed and, when greedy, without what has no effect then."""
    ignored = {"seed", "top_p", "top_k"} if sampling.temperature == 0 else {"seed"}
    if sampling.loop_tokens == 0:
        ignored |= {"loop_tokens", "loop_repeats"}
    return json.dumps(sampling.model_dump(exclude=ignored), sort_keys=True, separators=(",", ":"))


def base_seed(sampling: SamplingParams) -> int:
    """The base seed that counts: a greedy response has none."""
    return sampling.seed if sampling.temperature > 0 else 0


Key = TypeVar("Key")


class PrefixAffinity(Generic[Key]):
    """Sends the samples of one prompt to the same replica or server, which has the prompt in its prefix cache."""

    def __init__(self, most: int) -> None:
        """Remember the last `most` prompts."""
        self._most = most
        self._homes: dict[str, Key] = {}

    def choose(self, prompt: str, loads: Mapping[Key, int], slack: int) -> Key:
        """The one that had this prompt; where it is none, or fuller than another by more than `slack`, the emptiest."""
        least = min(loads, key=lambda one: loads[one])
        home = self._homes.pop(prompt, least)
        if home not in loads or loads[home] - loads[least] > slack:
            home = least
        self._homes[prompt] = home
        if len(self._homes) > self._most:
            del self._homes[next(iter(self._homes))]
        return home


# The messages between the parent and a replica.


class Setup(NamedTuple):
    """What one replica runs with."""

    folder: Path
    params: EngineParams
    log: Path
    kv_cache_bytes: int | None = None
    """None: vLLM's own choice."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables of this replica alone."""
    cores: tuple[int, ...] = ()
    """Its share of the cores; empty: all."""

    @property
    def halved(self) -> "Setup":
        """The same with half as many responses at once."""
        smaller = self.params.model_copy(update={"max_num_seqs": max(self.params.max_num_seqs // 2, 1)})
        return self._replace(params=smaller)


class Generate(NamedTuple):
    """To a replica: generate these."""

    requests: list[Request]


class Cancel(NamedTuple):
    """To a replica: stop generating these."""

    response_ids: list[str]


class Close(NamedTuple):
    """To a replica: end."""


class Started(NamedTuple):
    """From a replica: it is ready."""

    engine: str
    context: int
    """Longest prompt plus response, tokens."""
    kv_cache_tokens: int
    kv_cache_bytes: int
    max_num_seqs: int
    seconds: float
    """Loading the model and making the engine, without the import of vLLM."""


class Finished(NamedTuple):
    """From a replica: one response."""

    response_id: str
    text: str
    reason: str
    n_prompt_tokens: int
    n_tokens: int
    logprob_sum: float | None


class Results(NamedTuple):
    """From a replica: what has finished."""

    finished: list[Finished]


class Failed(NamedTuple):
    """From a replica: it ends now, and why."""

    reason: str
    out_of_memory: bool


Order = Generate | Cancel | Close
Report = Started | Results | Failed
