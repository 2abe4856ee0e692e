"""One replica of a model: requests in, finished responses out. Only this module imports vLLM, and only once it runs."""

import queue
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from tasks.engines.protocol import (
    Cancel,
    Close,
    Failed,
    Finished,
    Generate,
    Order,
    Report,
    Request,
    Results,
    Setup,
    Started,
)
from tasks.records.response import LOOP, TOO_LONG

REASONS = {"stop": "stop", "length": "length", "repetition": LOOP}
SEND_SECONDS = 0.1
"""Results are sent this often: each message wakes the stage, which takes a core from the engine."""

ONEDNN = ("could not create a primitive", "could not create a memory")
"""Errors of the matrix library of CPUs, among others when it has no memory."""
MEMORY_ERRORS = ("OutOfMemoryError", "EngineDeadError", "MemoryError")
MEMORY_TEXTS = (
    "out of memory",
    "cannot allocate memory",
    "defaultcpuallocator: can't allocate",
    "not enough memory",
    "bad_alloc",
    *ONEDNN,
)


def serve(inbox: "queue.SimpleQueue[Order]", send: Callable[[Report], None], setup: Setup) -> None:
    """Start the engine, and generate until a `Close` comes or the engine fails, which is reported."""
    try:
        engine = _Vllm(setup)
        send(engine.started)
        _loop(engine, inbox, send)
    except Exception as error:
        # vLLM's errors have many types; all mean that this replica has failed.
        traceback.print_exc()
        send(Failed(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", _out_of_memory(error)))


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        text = str(error).lower()
        if type(error).__name__ in MEMORY_ERRORS or any(known in text for known in MEMORY_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def _loop(engine: "_Vllm", inbox: "queue.SimpleQueue[Order]", send: Callable[[Report], None]) -> None:
    try:
        _step_until_closed(engine, inbox, send)
    except Exception:
        # What it had finished is sound.
        if engine.done:
            send(Results(engine.done))
        raise


def _step_until_closed(engine: "_Vllm", inbox: "queue.SimpleQueue[Order]", send: Callable[[Report], None]) -> None:
    sent = time.monotonic()
    while True:
        while not (engine.busy or engine.done) or not inbox.empty():
            order = inbox.get()
            if isinstance(order, Close):
                engine.shut_down()
                return
            engine.take(order)
        engine.step()
        if engine.done and (not engine.busy or time.monotonic() - sent >= SEND_SECONDS):
            send(Results(engine.done))
            engine.done = []
            sent = time.monotonic()


class _Vllm:
    """The engine of vLLM, stepped by us."""

    def __init__(self, setup: Setup) -> None:
        began = time.monotonic()
        import tasks.core.startup  # noqa: F401, I001  (goes first)
        from vllm import LLM

        only_sum_logprobs()
        self._llm = LLM(str(setup.folder), **settings(setup))
        self._engine = self._llm.llm_engine
        self._tokenizer = self._llm.get_tokenizer()
        self._room = self._llm.model_config.max_model_len
        self._logprobs = setup.params.logprobs
        self._names: dict[str, str] = {}
        self.done: list[Finished] = []
        self.started = self._describe(setup, time.monotonic() - began)

    def _describe(self, setup: Setup, seconds: float) -> Started:
        from vllm import __version__

        config = self._engine.vllm_config
        cache = config.cache_config
        dtype = str(config.model_config.dtype).removeprefix("torch.")
        parallel = f" tp{setup.params.tensor_parallel}" if setup.params.tensor_parallel > 1 else ""
        name = f"vllm {__version__.partition('+')[0]} {_device()} {dtype}{parallel}"
        tokens = (cache.num_gpu_blocks or 0) * cache.block_size
        room = setup.kv_cache_bytes or cache.kv_cache_memory_bytes or 0
        return Started(name, self._room, tokens, room, setup.params.max_num_seqs, round(seconds, 1))

    @property
    def busy(self) -> bool:
        """Whether responses are being generated."""
        return bool(self._names)

    def take(self, order: Order) -> None:
        """Queue or stop responses."""
        if isinstance(order, Generate):
            for request in order.requests:
                self._add(request)
        elif isinstance(order, Cancel):
            self._cancel(order.response_ids)

    def _add(self, request: Request) -> None:
        """Queue a request. The prompt's tokens are made here: its template holds any start token already."""
        tokens = self._tokenizer.encode(request.prompt, add_special_tokens=False)
        if len(tokens) >= self._room:
            self.done.append(Finished(request.response_id, "", TOO_LONG, len(tokens), 0, None))
            return
        sampling = _sampling(request, self._logprobs)
        inner = self._engine.add_request(request.response_id, {"prompt_token_ids": tokens}, sampling)
        self._names[request.response_id] = str(inner)

    def _cancel(self, response_ids: list[str]) -> None:
        running = [key for key in response_ids if self._names.pop(key, None)]
        if running:
            self._engine.abort_request(running)

    def step(self) -> None:
        """One token for each response in the batch."""
        if not self._names:
            return
        for output in self._engine.step():
            if self._names.pop(output.request_id, None):
                self.done.append(_finished(output))

    def shut_down(self) -> None:
        """End the processes that vLLM has started."""
        self._engine.engine_core.shutdown()


def _finished(output: Any) -> Finished:
    best = output.outputs[0]
    reason = str(best.finish_reason)
    if reason not in REASONS:
        raise RuntimeError(f"vLLM ended a response with {reason}")
    sizes = (len(output.prompt_token_ids), len(best.token_ids))
    return Finished(output.request_id, best.text, REASONS[reason], *sizes, best.cumulative_logprob)


def settings(setup: Setup) -> dict[str, Any]:
    """What vLLM is started with."""
    from vllm.platforms import current_platform

    params = setup.params
    chosen: dict[str, Any] = {
        "dtype": params.dtype,
        "max_model_len": params.max_model_len or _fitting(),
        "max_num_seqs": params.max_num_seqs,
        "tensor_parallel_size": params.tensor_parallel,
        "enable_prefix_caching": True,
        # The checkpoint's own sampling defaults must not override ours; its end tokens still count.
        "generation_config": "vllm",
        "seed": 0,
        "use_tqdm_on_load": False,
        "gpu_memory_utilization": params.gpu_memory_utilization,
    }
    if setup.kv_cache_bytes is not None:
        chosen["kv_cache_memory_bytes"] = setup.kv_cache_bytes
    if params.tensor_parallel > 1:
        # Inside a Ray actor vLLM would otherwise ask Ray for more actors.
        chosen["distributed_executor_backend"] = "mp"
    if current_platform.is_cpu():
        # A prompt prefilled in two parts rewinds its sample's generator, which a CPU generator cannot
        # ("CPU Generator does not use offset"). Compiling does not pay for minutes of work.
        chosen |= {"enforce_eager": True, "enable_chunked_prefill": False}
    return chosen


def _fitting() -> int | None:
    """The value for "what the KV cache holds, up to the model's limit", where this vLLM has one."""
    from vllm.v1.core import kv_cache_utils

    return -1 if hasattr(kv_cache_utils, "_auto_fit_max_model_len") else None


def _sampling(request: Request, logprobs: bool) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind

    sampling = request.sampling
    loops = sampling.loop_tokens and RepetitionDetectionParams(sampling.loop_tokens, 1, sampling.loop_repeats)
    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        seed=request.own_seed,
        logprobs=0 if logprobs else None,
        flat_logprobs=logprobs,
        repetition_detection=loops or None,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


class TokenLogprobs(NamedTuple):
    """The log-probability of each chosen token of a step, in the order of the batch."""

    values: list[float]
    starts: list[int] | None
    """Where each request's begin, when some have more than one."""

    def slice_request(self, request: int, count: int) -> "float | TokenLogprobs":
        """Those of one request."""
        start = self.starts[request] if self.starts else request
        return self.values[start] if count == 1 else TokenLogprobs(self.values[start : start + count], None)


def only_sum_logprobs() -> None:
    """Have vLLM, in this process, sum the log-probabilities of chosen tokens, which is all that is kept of them.

    vLLM's own way takes a fifth of a small model's speed: each token's rank, for which it first compiles a kernel,
    three array slices a token, and a list with each token decoded once more. What is replaced is private to vLLM; where
    a runner goes another way, its own objects are summed.
    """
    import torch
    from vllm.v1.engine.logprobs import LogprobsProcessor
    from vllm.v1.outputs import LogprobsTensors
    from vllm.v1.sample.sampler import Sampler

    class ChosenTensors(LogprobsTensors):  # type: ignore[misc]
        """As vLLM passes them on, without ids and ranks."""

        def tolists(self, starts: list[int] | None = None) -> TokenLogprobs:
            return TokenLogprobs(self.logprobs.squeeze(-1).tolist(), starts or self.cu_num_generated_tokens)

    ranked = Sampler.gather_logprobs

    def gather(logprobs: Any, num_logprobs: int, token_ids: Any) -> Any:
        if num_logprobs:
            return ranked(logprobs, num_logprobs, token_ids)
        chosen = token_ids.unsqueeze(-1)
        return ChosenTensors(chosen, logprobs.gather(-1, chosen), torch.empty(0))

    def add(self: Any, found: Any) -> None:
        if isinstance(found, TokenLogprobs):
            found = sum(found.values)
        self.cumulative_logprob += found if isinstance(found, float) else float(found.logprobs[:, 0].sum())

    Sampler.gather_logprobs = staticmethod(gather)
    LogprobsProcessor._update_sample_logprobs = add


def _device() -> str:
    from vllm.platforms import current_platform

    return "cpu" if current_platform.is_cpu() else str(current_platform.get_device_name()).replace(" ", "-")
