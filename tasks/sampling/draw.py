"""Draw samples of a model as params say: what every stage that samples calls."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.engines.launch import open_engine
from tasks.engines.params import EngineParams
from tasks.engines.protocol import Engine
from tasks.ledger.ledger import Ledger
from tasks.records.model import Model
from tasks.sampling.groups import Group, Judge
from tasks.sampling.outcomes import Rule, never
from tasks.sampling.sampled import Sampled
from tasks.sampling.sampler import sample


def draw(
    groups: Sequence[Group],
    *,
    name: str,
    model: Model,
    engine: EngineParams,
    ledger: Path,
    rule: Rule = never,
    judge: Judge | None = None,
    start: Callable[[], Engine] | None = None,
) -> Sampled:
    """The samples of `groups` that count, with the model's name and id among the facts.

    Args:
        name: the stage, for progress.
        ledger: folder of the ledgers of all models; vLLM's log goes there, progress beside it.
        start: starts the engine, where it is not the one of params.
    """
    mine = engine.of(model.name)
    table, facts, book = sample(
        groups,
        name=name,
        model_id=model.model_id,
        ledger=Ledger(ledger, model.model_id, engine.flush_responses, engine.flush_seconds),
        open_engine=start or (lambda: open_engine(engine, model, ledger / model.model_id / "vllm.log")),
        places=mine.places,
        rule=rule,
        judge=judge,
        context=mine.max_model_len,
        progress=ledger.parent / "progress",
    )
    return Sampled(table, {"model": model.name, "model_id": model.model_id, **facts}, book)
