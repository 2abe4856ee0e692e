"""Known data sets by name: where to get them, how to read them, their license and whom to cite.

BENCHMARKS are the ten of the paper and two more, POOL the usual sources of questions. Repositories, revisions, file
names, columns and licenses are as public code and data set cards cite them; none could be fetched when this was
written, so a mistake shows as "no file matches" or "no column", never as wrong questions. No public source names a full
commit of LIMO, LIMO-v2 and AIME25: they ask for one. The paper's own copies of CHMath, Gaokao, Kaoyan and GradeSchool
lie in github.com/GAIR-NLP/LIMO under eval/data and are on no hub: give their `path`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

LIMO_PAPER = "Ye et al., LIMO: Less is More for Reasoning, arXiv:2502.03387"

CHINESE_SYSTEM = "请逐步推理，并将最终答案放在 \\boxed{} 中。"
"""The paper's system message in Chinese: the original has no prompt file for its Chinese benchmarks."""

BENCHMARKS: dict[str, dict[str, Any]] = {
    "AIME24": {
        "hub": {
            "repo": "HuggingFaceH4/aime_2024",
            "revision": "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
            "file": "data/train-00000-of-00001.parquet",
        },
        "rules": {"kind": "integer"},
    },
    "MATH500": {
        "hub": {
            "repo": "HuggingFaceH4/MATH-500",
            "revision": "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
            "file": "test.jsonl",
        },
    },
    "AMC23": {
        "hub": {
            "repo": "math-ai/amc23",
            "revision": "80815d37005feb82cd7f8fbc6901d5d3eff43057",
            "file": "test-00000-of-00001.parquet",
        },
        "rules": {"kind": "integer"},
    },
    # 674 rows there; the paper's copy has 675.
    "OlympiadBench": {
        "hub": {
            "repo": "Hothan/OlympiadBench",
            "revision": "91184b52131e7fc9455fef848035173aea8cc01a",
            "file": "OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet",
        },
    },
    "Minerva": {
        "hub": {
            "repo": "math-ai/minervamath",
            "revision": "ee46ddc498933b1977577953250ca5c66be64f96",
            "file": "test.jsonl",
        },
        # Values of measurements, given to two or three digits.
        "rules": {"tolerance": 0.01},
    },
    # Gated: accept its terms on the hub, and set HF_TOKEN.
    "GPQA": {
        "hub": {
            "repo": "Idavidrein/gpqa",
            "revision": "633f5ee89ab8ad4522a9f850766b73f62147ffdd",
            "file": "gpqa_diamond.csv",
        },
        "rules": {"kind": "choice"},
        "fields": {
            "question": "Question",
            "answer": "Correct Answer",
            "distractors": ["Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"],
        },
    },
    "CHMath": {},
    # A third of it has no options: there `choice_answer` is empty and `answer` counts.
    "Gaokao": {"language": "zh", "system": CHINESE_SYSTEM, "fields": {"choice": "choice_answer"}},
    "Kaoyan": {"language": "zh", "system": CHINESE_SYSTEM},
    "GradeSchool": {"language": "zh", "system": CHINESE_SYSTEM},
    # Not the paper's. No public source names a full commit of it: it asks for one.
    "AIME25": {"hub": {"repo": "math-ai/aime25", "file": "test.jsonl"}, "rules": {"kind": "integer"}},
    "GSM8K-test": {
        "hub": {
            "repo": "openai/gsm8k",
            "revision": "cc7b047b6e5bb11b4f1af84efc572db110a51b3c",
            "file": "main/test-*.parquet",
        },
        "fields": {"question": "question", "answer": "answer"},
        "answer_from": "hash",
    },
}

POOL: dict[str, dict[str, Any]] = {
    "NuminaMath-CoT": {
        "hub": {
            "repo": "AI-MO/NuminaMath-CoT",
            "revision": "9d8d210c9f6a36c8f3cd84045668c9b7800ef517",
            "file": "data/train-*.parquet",
        },
        "fields": {"question": "problem", "answer": "solution", "domain": "source"},
        "answer_from": "boxed",
        "license": "apache-2.0",
        "citation": "Li et al., NuminaMath, 2024; https://huggingface.co/datasets/AI-MO/NuminaMath-CoT",
    },
    "DeepScaleR": {
        "hub": {
            "repo": "agentica-org/DeepScaleR-Preview-Dataset",
            "revision": "b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29",
            "file": "deepscaler.json",
        },
        "fields": {"question": "problem", "answer": "answer"},
        "license": "mit",
        "citation": "Luo et al., DeepScaleR: Surpassing O1-Preview with a 1.5B Model by Scaling RL, 2025",
    },
    "MATH": {
        "hub": {
            "repo": "DigitalLearningGmbH/MATH-lighteval",
            "revision": "0530c78699ea5e8eb5530600900e1f328b48acad",
            "file": "data/train-*.parquet",
        },
        "fields": {"question": "problem", "answer": "solution", "domain": "type", "level": "level"},
        "answer_from": "boxed",
        "license": "mit",
        "citation": "Hendrycks et al., Measuring Mathematical Problem Solving With the MATH Dataset, arXiv:2103.03874",
    },
    "GSM8K": {
        "hub": {
            "repo": "openai/gsm8k",
            "revision": "cc7b047b6e5bb11b4f1af84efc572db110a51b3c",
            "file": "main/train-*.parquet",
        },
        "fields": {"question": "question", "answer": "answer"},
        "answer_from": "hash",
        "license": "mit",
        "citation": "Cobbe et al., Training Verifiers to Solve Math Word Problems, arXiv:2110.14168",
    },
    # Reaches 2024: decontamination takes AIME24 out.
    "AIME": {
        "hub": {
            "repo": "di-zhang-fdu/AIME_1983_2024",
            "revision": "3e2cc86390666c5c756622afc0eeb9e6194496bc",
            "file": "AIME_Dataset_1983_2024.csv",
        },
        "fields": {"question": "Question", "answer": "Answer"},
        "answer_from": "as_is",
        "license": "mit",
        "citation": "AIME_1983_2024, doi:10.57967/hf/4687; problems of the Mathematical Association of America",
    },
    "LIMO": {
        "hub": {"repo": "GAIR/LIMO", "file": "limo.jsonl"},
        "fields": {"question": "question", "answer": "answer"},
        "license": "apache-2.0",
        "citation": LIMO_PAPER,
    },
    "LIMO-v2": {
        "hub": {"repo": "GAIR/LIMO-v2", "file": "limo-v2.jsonl"},
        "fields": {"question": "question", "answer": "answer"},
        "license": "apache-2.0",
        "citation": LIMO_PAPER,
    },
    "OpenR1-Math": {
        "hub": {
            "repo": "open-r1/OpenR1-Math-220k",
            "revision": "e4e141ec9dea9f8326f4d347be56105859b2bd68",
            "file": "data/train-*.parquet",
        },
        "fields": {"question": "problem", "answer": "answer", "domain": "problem_type"},
        "license": "apache-2.0",
        "citation": "Open R1, OpenR1-Math-220k, 2025; https://huggingface.co/datasets/open-r1/OpenR1-Math-220k",
    },
}


def fill_in(given: Any, presets: Mapping[str, Mapping[str, Any]], forms: Sequence[str]) -> Any:
    """What is given for a source, with everything else from the preset it names.

    `hub` and `fields` are filled in key by key, unless another repository is given; any other form of source replaces
    the preset's hub files.

    Raises:
        ValueError: for a pydantic validator to report: no such preset, or one that needs more.
    """
    if not isinstance(given, dict) or given.get("preset") is None:
        return given
    name = given["preset"]
    if name not in presets:
        raise ValueError(f"no preset `{name}`; there are {', '.join(presets)}")
    preset = dict(presets[name])
    here = {key: value for key, value in given.items() if value is not None or key not in forms}
    if any(form in here for form in forms if form != "hub"):
        preset.pop("hub", None)
    filled = {"name": name, **preset, **here}
    for key in ("hub", "fields", "rules"):
        if isinstance(here.get(key), dict) and "repo" not in here[key]:
            filled[key] = {**preset.get(key, {}), **here[key]}
    _check_hub(name, filled, forms)
    return filled


def _check_hub(name: str, filled: Mapping[str, Any], forms: Sequence[str]) -> None:
    if not any(form in filled for form in forms):
        raise ValueError(
            f"preset `{name}` is on no hub; give the `path` of its file from github.com/GAIR-NLP/LIMO, eval/data"
        )
    hub = filled.get("hub")
    if isinstance(hub, dict) and hub.get("revision") is None:
        raise ValueError(f"preset {name} needs hub.revision: give the full commit hash (40 hex digits)")
