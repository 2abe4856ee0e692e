"""vLLM on this machine: each copy of the model in a child process, so that this one never loads vLLM or torch."""

import os
from pathlib import Path

from tasks.engines.environment import set_environment
from tasks.engines.fleet import Fleet, tell
from tasks.engines.limits import available_bytes, core_shares, cpu_cache_bytes, gpus, require_gpus
from tasks.engines.messages import Setup
from tasks.engines.params import EngineParams
from tasks.engines.replica import Processes, load_vllm
from tasks.files import write_json


class VllmEngine(Fleet):
    """One model on this machine's GPUs, or on its CPU."""

    def __init__(self, folder: Path, params: EngineParams, log: Path) -> None:
        """Load the model in `folder`, and say what it runs with; vLLM's own log goes to the file `log`.

        Raises:
            LimoError: the copies do not fit the GPUs, or vLLM cannot run this model here, in its own words.
        """
        cards = gpus()
        require_gpus(params, cards)
        prepare(log)
        super().__init__(Processes(), local_setups(folder, params, log, cards))
        tell("limo", self.facts)


def prepare(log: Path) -> None:
    """Begin to load vLLM, which takes seconds, as soon as it is known that it will be needed; returns at once."""
    set_environment()
    log.parent.mkdir(parents=True, exist_ok=True)
    _log_into(log)
    load_vllm(log, on_gpu=bool(gpus()))


def local_setups(folder: Path, params: EngineParams, log: Path, cards: list[str]) -> list[Setup]:
    """What each copy on this machine runs with: its own GPUs, or its own share of the cores."""
    each, copies = params.tensor_parallel, params.data_parallel
    setup = Setup(folder, params, log.absolute())
    if cards:
        slices = [",".join(cards[each * i : each * (i + 1)]) for i in range(copies)]
        bytes_ = int(params.kv_cache_gib * 2**30) if params.kv_cache_gib else None
        setup = setup._replace(kv_cache_bytes=bytes_)
        return [setup._replace(environment=(("CUDA_VISIBLE_DEVICES", names),)) for names in slices]
    setup = setup._replace(kv_cache_bytes=cpu_cache_bytes(folder, params, available_bytes()))
    return [setup._replace(cores=share) for share in core_shares(copies)]


def _log_into(log: Path) -> None:
    """Have vLLM log into its process's output, by way of the environment, which its worker processes inherit."""
    settings = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {"vllm": {"handlers": ["out"], "level": "INFO", "propagate": False}},
    }
    config = log.with_suffix(".logging.json")
    write_json(config, settings)
    os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(config.absolute())
