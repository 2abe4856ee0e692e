"""Validate the whole of params.yaml, every mistake at once, before anything starts.

Reads params.yaml; writes a manifest whose content is always the same, so that a valid change of params reruns only the
stages that read the changed section. Also the home of what `limo check` says about this machine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.needs import NeedsParams, lacks
from tasks.answer import AnswerParams
from tasks.band import BandParams
from tasks.base import BaseParams
from tasks.benchmarks import BenchmarksParams
from tasks.clean import CleanParams
from tasks.decontaminate import DecontaminateParams
from tasks.engines.params import ChatParams, EngineParams
from tasks.errors import LimoError
from tasks.files import publish
from tasks.grade import GradeParams
from tasks.lineage import LineageParams
from tasks.manifest import write_manifest
from tasks.params import Params, load_section, read_tree, section_errors
from tasks.pool.shards import ShardsParams
from tasks.pull import PullParams
from tasks.reason import ReasonParams
from tasks.report import ReportParams
from tasks.score import ScoreParams
from tasks.screen import ScreenParams
from tasks.select import SelectParams
from tasks.stage import stage_main
from tasks.train import TrainParams

SECTIONS: dict[str, type[Params]] = {
    "base": BaseParams,
    "benchmarks": BenchmarksParams,
    "pull": PullParams,
    "clean": CleanParams,
    "decontaminate": DecontaminateParams,
    "engine": EngineParams,
    "chat": ChatParams,
    "screen": ScreenParams,
    "band": BandParams,
    "reason": ReasonParams,
    "score": ScoreParams,
    "select": SelectParams,
    "train": TrainParams,
    "answer": AnswerParams,
    "grade": GradeParams,
    "lineage": LineageParams,
    "report": ReportParams,
    "shards": ShardsParams,
    "needs": NeedsParams,
}


TRAINED = "trained"
"""The trained model's name, which no model of `base.models` may have."""
GENERATING = ("screen", "band", "reason", "train", "answer", "grade")
"""Sections that name models."""


def mistakes(tree: Mapping[str, Any]) -> list[str]:
    """Every mistake in a params tree, each as `key.path: what is wrong`; empty when it is valid."""
    found = [f"{name}: unknown section" for name in tree if name not in SECTIONS and name != "profile"]
    for name, model in SECTIONS.items():
        found += section_errors(name, tree.get(name), model)
    return found or unknown_names(tree)


def unknown_names(tree: Mapping[str, Any]) -> list[str]:
    """Keys that name a model or a benchmark which there is not; the sections are valid by now."""
    found = unknown_models(tree)
    if TRAINED in tree["base"]["models"]:
        found.append(f"base.models.{TRAINED}: the name of the model that `train` makes; take another")
    suite = BenchmarksParams.model_validate(tree["benchmarks"]).suite
    others = AnswerParams.model_validate(tree.get("answer") or {}).benchmarks
    names = [benchmark.name for benchmark in suite]
    return found + [
        f"answer.benchmarks.{name}: no benchmark `{name}` in benchmarks.suite, which has {', '.join(names)}"
        for name in others
        if name not in names
    ]


def unknown_models(tree: Mapping[str, Any]) -> list[str]:
    """Keys that name a model which `base.models` does not have."""
    known = sorted(tree["base"]["models"])
    screen, band, reason, train, answer, grade = (tree.get(name) or {} for name in GENERATING)
    named = {
        "screen.model": ScreenParams.model_validate(screen).model,
        "band.model": BandParams.model_validate(band).model,
        "train.base": TrainParams.model_validate(train).base,
        "answer.base": AnswerParams.model_validate(answer).base,
    }
    teachers = ReasonParams.model_validate(reason).teachers
    named |= {f"reason.teachers.{index}.model": teacher.model for index, teacher in enumerate(teachers)}
    if judge := GradeParams.model_validate(grade).judge:
        named["grade.judge.model"] = judge.model
    engine = EngineParams.model_validate(tree.get("engine") or {})
    named |= {f"engine.models.{name}": name for name in engine.models if name != TRAINED}
    return [
        f"{key}: no model `{name}` under base.models, which has {', '.join(known)}"
        for key, name in named.items()
        if name not in known
    ]


def require_valid(path: Path) -> None:
    """Raise a LimoError that lists every mistake of a params file, one a line."""
    found = mistakes(read_tree(path))
    if found:
        raise LimoError(f"{path}: {len(found)} to mend\n" + "\n".join(f"  {mistake}" for mistake in found))


def run(*, params_file: Path, out: Path) -> None:
    """Check `params_file` and this machine, then write the manifest."""
    require_valid(params_file)
    missing = lacks(load_section(params_file, "needs", NeedsParams))
    if missing:
        raise LimoError("this machine cannot run the profile:\n" + "\n".join(f"  {line}" for line in missing))
    with publish(out) as part:
        write_manifest(part, "check", taken=len(SECTIONS), kept=len(SECTIONS), rejected={})


if __name__ == "__main__":
    stage_main(run)
