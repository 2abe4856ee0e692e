"""Start the engine that params ask for."""

from pathlib import Path

from tasks.engines.openai_engine import OpenAIEngine
from tasks.engines.params import EngineParams
from tasks.engines.protocol import Engine
from tasks.engines.vllm_engine import VllmEngine
from tasks.records.model import Model


def open_engine(params: EngineParams, model: Model, log: Path) -> Engine:
    """An engine that serves `model`; what it logs goes to the file `log`.

    Raises:
        LimoError: it does not start, or no server serves the model.
    """
    if params.kind == "openai":
        return OpenAIEngine(model.name, params)
    return VllmEngine(Path(model.path), params.of(model.name), log)
