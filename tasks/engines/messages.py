"""What the parent and a copy of the model tell each other."""

from pathlib import Path
from typing import NamedTuple

from tasks.engines.params import EngineParams
from tasks.engines.protocol import Request


class Setup(NamedTuple):
    """What one copy of the model runs with."""

    folder: Path
    params: EngineParams
    log: Path
    kv_cache_bytes: int | None = None
    """None: vLLM's own choice."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables of this copy alone."""
    cores: tuple[int, ...] = ()
    """Its share of the cores; empty: all."""

    @property
    def halved(self) -> "Setup":
        """The same with half as many responses at once."""
        smaller = self.params.model_copy(update={"max_num_seqs": max(self.params.max_num_seqs // 2, 1)})
        return self._replace(params=smaller)


class Generate(NamedTuple):
    """To a copy: generate these."""

    requests: list[Request]


class Cancel(NamedTuple):
    """To a copy: stop generating these."""

    response_ids: list[str]


class Close(NamedTuple):
    """To a copy: end."""


class Started(NamedTuple):
    """From a copy: it is ready."""

    engine: str
    context: int
    """Longest prompt plus response, tokens."""
    kv_cache_tokens: int
    kv_cache_bytes: int
    max_num_seqs: int
    seconds: float
    """Loading the model and making the engine, without the import of vLLM."""


class Finished(NamedTuple):
    """From a copy: one response."""

    response_id: str
    text: str
    reason: str
    n_prompt_tokens: int
    n_tokens: int
    logprob_sum: float | None


class Results(NamedTuple):
    """From a copy: what has finished."""

    finished: list[Finished]


class Failed(NamedTuple):
    """From a copy: it ends now, and why."""

    reason: str
    out_of_memory: bool


Order = Generate | Cancel | Close
Report = Started | Results | Failed
