"""Start the engine that params name."""

from pathlib import Path

from tasks.engines.fleet import VllmEngine
from tasks.engines.params import EngineParams
from tasks.engines.protocol import Engine
from tasks.records.model import Model


def open_engine(params: EngineParams, model: Model, log: Path) -> Engine:
    """An engine that serves `model`; its log goes to the file `log`.

    Raises:
        LimoError: it does not start, or no server serves the model.
    """
    mine = params.of(model.name)
    if mine.kind == "openai":
        from tasks.engines.openai import OpenAIEngine

        return OpenAIEngine(model.name, mine)
    if mine.kind == "ray":
        from tasks.engines.ray import RayEngine

        return RayEngine(Path(model.path), mine, log)
    return VllmEngine(Path(model.path), mine, log)
