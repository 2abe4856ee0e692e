"""Questions made by a generator: the families of this project, or a task of reasoning-gym."""

import hashlib
import json
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.errors import LimoError
from tasks.families import Split, problems
from tasks.files import full_disk, make_folder
from tasks.pool.source import SourceParams


class Made(NamedTuple):
    """A generator's questions, written as JSON Lines."""

    path: Path
    label: str
    """The generator's call: question k is `label:k`."""


class MadeQuestion(NamedTuple):
    """One generated question."""

    question: str
    answer: str | None
    domain: str
    level: str | None


def write_made(source: SourceParams, split: Split, key: str, folder: Path) -> Made | None:
    """Write the questions of a generator under `folder`, or None when the source is none.

    Raises:
        LimoError: the generator refuses its settings.
    """
    if source.family is not None:
        label, questions = f"family:{source.family}:{split}:{source.seed}", _from_family(source, split)
    elif source.reasoning_gym is not None:
        label = f"reasoning_gym:{source.reasoning_gym}:{split}:{source.seed}"
        questions = _from_reasoning_gym(source, split, key)
    else:
        return None
    make_folder(folder)
    name = hashlib.blake2b(f"{split}:{source.model_dump_json()}".encode(), digest_size=8).hexdigest()
    path, part = folder / f"{name}.jsonl", folder / f"{name}.{uuid.uuid4().hex[:12]}.part"
    with full_disk(part), part.open("w", encoding="utf-8") as sink:
        sink.writelines(json.dumps(question._asdict()) + "\n" for question in questions)
    part.replace(path)
    return Made(path, label)


def _from_family(source: SourceParams, split: Split) -> Iterator[MadeQuestion]:
    assert source.family is not None
    assert source.count is not None
    assert source.levels is not None
    for problem in problems(source.family, source.count, source.seed, source.levels, split):
        yield MadeQuestion(problem.question, problem.answer, problem.family, str(problem.level))


def _from_reasoning_gym(source: SourceParams, split: Split, key: str) -> Iterator[MadeQuestion]:
    assert source.reasoning_gym is not None
    with warnings.catch_warnings():
        # One of its dependencies warns about its own syntax when first compiled.
        warnings.simplefilter("ignore")
        import reasoning_gym
    try:
        entries = reasoning_gym.create_dataset(
            source.reasoning_gym, size=source.count, seed=_far_seed(split, source.seed), **source.config
        )
    except (ValueError, TypeError, AssertionError) as error:
        raise LimoError(f"reasoning_gym {source.reasoning_gym}: {error} (params.yaml: {key})") from None
    for entry in entries:
        yield MadeQuestion(entry["question"], entry["answer"], source.reasoning_gym, None)


def _far_seed(split: Split, seed: int) -> int:
    """A seed far from all others: reasoning-gym draws entry i from `seed + i`, so seeds 3 and 14 share questions."""
    return int.from_bytes(hashlib.blake2b(f"{split}:{seed}".encode(), digest_size=4).digest())
