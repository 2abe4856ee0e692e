"""Where rows come from: the params of one source, the same for the question pool and for benchmarks.

Presets are known data sets by name: where to get them, how to read them, their license and whom to cite. BENCHMARKS are
the ten of the paper and two more, POOL the usual sources of questions. Repositories, revisions, file names, columns and
licenses are as public code and data set cards cite them; none could be fetched when this was written, so an error shows
as "no file matches" or "no column", never as wrong questions. No public source names a full commit of LIMO, LIMO-v2 and
AIME25: these presets require one. The paper's own files of CHMath, Gaokao, Kaoyan and GradeSchool are in
github.com/GAIR-NLP/LIMO under eval/data and on no hub: give their `path`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, field_validator, model_validator

from tasks.core.params import Params
from tasks.sources.answers import AnswerFormat

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
    # Not the paper's. No public source names a full commit of it: this preset requires one.
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


def apply_preset(given: Any, presets: Mapping[str, Mapping[str, Any]], forms: Sequence[str]) -> Any:
    """The params given for a source, with everything else from the preset they name.

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
    if not any(form in filled for form in forms):
        raise ValueError(
            f"preset `{name}` is on no hub; give the `path` of its file from github.com/GAIR-NLP/LIMO, eval/data"
        )
    hub = filled.get("hub")
    if isinstance(hub, dict) and hub.get("revision") is None:
        raise ValueError(f"preset {name} needs hub.revision: give the full commit hash (40 hex digits)")
    return filled


FORMS = ("path", "hub", "url", "family", "reasoning_gym")
ALLOWED_FOR = {"levels": ("family",), "count": ("family", "reasoning_gym"), "config": ("reasoning_gym",)}
SUFFIX = re.compile(r"\.((json|jsonl|csv)(\.gz|\.zst)?|parquet)$", re.IGNORECASE)
REQUIRES = {"family": ("levels", "count"), "reasoning_gym": ("count",)}


class HubFiles(Params):
    """Files of a Hugging Face data set."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Such as `openai/gsm8k`."""
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    """The full commit hash: a branch such as `main` moves, and the same params would give other questions."""
    file: str
    """A file or a glob inside the repository, such as `data/train-*.parquet`."""


class UrlFile(Params):
    """One file at a url."""

    url: str = Field(pattern=r"^[a-z][a-z0-9+.-]*://\S+$")
    """https, http, s3, gs, or any other protocol that fsspec knows; the end of its path tells the format."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Its checksum, in hex; left out, the first pull records it, and a later change is an error."""

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        parts = urlsplit(url)
        if not SUFFIX.search(parts.path):
            raise ValueError("its path must end in .json, .jsonl, .csv (also .gz, .zst) or .parquet")
        if parts.username or parts.password:
            # The url is part of every question's origin.
            raise ValueError("leave name and password out of the url; ~/.netrc or the store's own settings hold them")
        return url


class Fields(Params):
    """Which column holds what; a column left out is guessed from common names (question and answer must be found)."""

    question: str | None = None
    answer: str | None = None
    """The final answer, or a text that ends in one (see `answer_from`)."""
    domain: str | None = None
    level: str | None = None
    id: str | None = None
    """The source's own id; two rows with the same one are an error. Never guessed."""
    choice: str | None = None
    """The letter of the right option, where a row has one: it is then the answer. Never guessed."""
    distractors: tuple[str, ...] = ()
    """Columns with wrong answers: the options are appended to the question as A., B., ... in an order that depends only
    on the question, its options and `shuffle_seed`, and the answer becomes a letter (GPQA)."""
    shuffle_seed: int = 0
    """Of the order of options."""


class SourceParams(Params):
    """One source; exactly one of `path`, `hub`, `url`, `family` and `reasoning_gym` says which form it has."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = POOL

    preset: str | None = None
    """A known data set, by name: fills in whatever is not given here. A `path` or `url` given with it is read the
    same way."""
    name: str = Field(min_length=1)
    """Part of every id made from this source, so renaming it makes new questions."""
    path: str | None = None
    """A local file or glob (`**` for any depth): .json, .jsonl, .csv or .parquet, also with .gz or .zst."""
    hub: HubFiles | None = None
    url: UrlFile | None = None
    family: str | None = None
    """A question generator of this project, by name."""
    reasoning_gym: str | None = None
    """A task of the package reasoning-gym, by name."""
    levels: tuple[PositiveInt, ...] | None = None
    """Of a `family`: numbers of operations, taken in turn."""
    count: PositiveInt | None = None
    """Of a generator: how many questions."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Of a `reasoning_gym` task: its own settings."""
    fields: Fields = Fields()
    answer_from: AnswerFormat = "auto"
    r"""Where the final answer is in the answer column: `as_is`, after GSM8K's `####` (`hash`), in the last `\boxed{}`
    or as the `letter` of an option; `auto` decides row by row, and never takes a `solution` column as it is."""
    license: str | None = None
    """Such as `mit`; written to the manifest."""
    citation: str | None = None
    """Whom to cite; written to the manifest."""
    limit: PositiveInt | None = None
    """Rows to take: a sample that depends only on `seed` and the questions' text; null takes all."""
    seed: int = 0
    """Of the generator, or of the sample that `limit` draws."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        return apply_preset(given, cls.presets, FORMS)

    @model_validator(mode="after")
    def _one_form(self) -> "SourceParams":
        forms = [form for form in FORMS if getattr(self, form) is not None]
        if len(forms) != 1:
            raise ValueError(f"give exactly one of {', '.join(FORMS)}, not {' and '.join(forms) or 'none'}")
        for key in REQUIRES.get(forms[0], ()):
            if not getattr(self, key):
                raise ValueError(f"a source given by `{forms[0]}` needs `{key}`")
        for key, owners in ALLOWED_FOR.items():
            if getattr(self, key) and forms[0] not in owners:
                raise ValueError(f"`{key}` has no meaning for a source given by `{forms[0]}`")
        return self


def check_names(sources: tuple[SourceParams, ...]) -> None:
    """Refuse an empty list, and two sources with one name, whose ids would collide.

    Raises:
        ValueError: for a pydantic validator to report.
    """
    if not sources:
        raise ValueError("list at least one")
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the name {', '.join(twice)} is used twice")
