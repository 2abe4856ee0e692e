"""vLLM in this process: requests in as they come, responses out as each finishes. The only module that imports vLLM."""

import gc
import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.engines.environment import set_environment
from tasks.engines.params import EngineParams
from tasks.engines.protocol import Request
from tasks.errors import LimoError
from tasks.files import write_json
from tasks.records.response import TOO_LONG, Response


class VllmEngine:
    """One model on this machine's GPUs, or on its CPU."""

    def __init__(self, folder: Path, params: EngineParams, log: Path) -> None:
        """Load the model in `folder`; vLLM's own log goes to the file `log`.

        Raises:
            LimoError: vLLM cannot run this model here, in its own words.
        """
        set_environment()
        _log_into(log)
        with _output_into(log):
            try:
                from vllm import LLM

                with _without_llvmlite():
                    self._llm = LLM(str(folder), **_settings(params))
            except Exception as error:
                # vLLM's errors have many types; all mean that this model does not run with these params.
                reason = " ".join(str(error).split())[:300]
                raise LimoError(f"{folder}: vLLM does not start: {reason}; more in {log}") from error
        self._engine = self._llm.llm_engine
        self._tokenizer = self._llm.get_tokenizer()
        self._room = self._llm.model_config.max_model_len
        self._flying: dict[str, tuple[Request, float]] = {}
        self._refused: list[Response] = []

    @property
    def facts(self) -> dict[str, Any]:
        """Nothing yet."""
        return {}

    def submit(self, requests: Sequence[Request]) -> None:
        """Queue requests."""
        for request in requests:
            self._submit(request)

    def _submit(self, request: Request) -> None:
        """Queue a request. The prompt's tokens are made here: its template holds any start token already."""
        tokens = self._tokenizer.encode(request.prompt, add_special_tokens=False)
        if len(tokens) >= self._room:
            self._refused.append(request.finish("", TOO_LONG, len(tokens), 0, 0.0))
            return
        self._flying[request.response_id] = (request, time.monotonic())
        self._engine.add_request(request.response_id, {"prompt_token_ids": tokens}, _sampling(request))

    def finished(self, seconds: float) -> list[Response]:
        """Step until something finishes, or for `seconds`."""
        done, self._refused = self._refused, []
        until = time.monotonic() + seconds
        while self._flying and not done and time.monotonic() < until:
            done = [self._response(output) for output in self._engine.step() if output.request_id in self._flying]
        return done

    def cancel(self, response_ids: Collection[str]) -> None:
        """Abort requests."""
        flying = [key for key in response_ids if self._flying.pop(key, None)]
        if flying:
            self._engine.abort_request(flying)

    def close(self) -> None:
        """Shut the engine down and free its memory, so that the next model finds room in this process."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self._engine.engine_core.shutdown()
        del self._engine, self._llm
        cleanup_dist_env_and_memory()
        gc.collect()

    def _response(self, output: Any) -> Response:
        request, started = self._flying.pop(output.request_id)
        best = output.outputs[0]
        reason = str(best.finish_reason)
        if reason not in ("stop", "length"):
            raise LimoError(f"vLLM ended a response with {reason}; rerun, what had finished is in the ledger")
        seconds = round(time.monotonic() - started, 3)
        return request.finish(best.text, reason, len(output.prompt_token_ids), len(best.token_ids), seconds)


def _settings(params: EngineParams) -> dict[str, Any]:
    from vllm.platforms import current_platform

    settings: dict[str, Any] = {
        "dtype": params.dtype,
        "max_model_len": params.max_model_len,
        "max_num_seqs": params.max_num_seqs,
        "tensor_parallel_size": params.tensor_parallel,
        "enable_prefix_caching": True,
        # The checkpoint's own sampling defaults must not override ours; its end tokens still count.
        "generation_config": "vllm",
        "seed": 0,
        "use_tqdm_on_load": False,
        "gpu_memory_utilization": params.gpu_memory_utilization,
    }
    if params.kv_cache_gib is not None:
        settings["kv_cache_memory_bytes"] = int(params.kv_cache_gib * 2**30)
    if current_platform.is_cpu():
        # A prompt prefilled in two parts rewinds its sample's generator, which a CPU generator cannot
        # ("CPU Generator does not use offset"). Compiling does not pay for minutes of work.
        settings |= {"enforce_eager": True, "enable_chunked_prefill": False}
    return settings


def _sampling(request: Request) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    asked = request.sampling
    return SamplingParams(
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        max_tokens=asked.max_tokens,
        stop=list(asked.stop),
        seed=request.own_seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _log_into(log: Path) -> None:
    """Have vLLM log into a file, by way of the environment, which its worker processes inherit."""
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = {"class": "logging.FileHandler", "filename": str(log.absolute()), "formatter": "plain"}
    settings = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"file": handler},
        "loggers": {"vllm": {"handlers": ["file"], "level": "INFO", "propagate": False}},
    }
    config = log.with_suffix(".logging.json")
    write_json(config, settings)
    os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(config.absolute())


@contextmanager
def _without_llvmlite() -> Iterator[None]:
    """Hide a module of llvmlite while vLLM starts, where numba has loaded it.

    vLLM's CPU engine reads the `__dict__` of everything that any loaded module names, and fails on llvmlite's library
    object, which answers every name with a function.
    """
    hidden = sys.modules.pop("llvmlite.binding.ffi", None)
    try:
        yield
    finally:
        if hidden is not None:
            sys.modules["llvmlite.binding.ffi"] = hidden


@contextmanager
def _output_into(log: Path) -> Iterator[None]:
    """Send what libraries print while starting to the log file too."""
    kept = [os.dup(number) for number in (1, 2)]
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for number in (1, 2):
            os.dup2(target, number)
        yield
    finally:
        for number, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, number)
            os.close(saved)
        os.close(target)
