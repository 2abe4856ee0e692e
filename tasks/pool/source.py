"""Where rows come from: the params of one source, the same for the question pool and for benchmarks."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, field_validator, model_validator

from tasks.params import Params
from tasks.pool.answers import How
from tasks.pool.presets import POOL, fill_in

FORMS = ("path", "hub", "url", "family", "reasoning_gym")
BELONGS_TO = {"levels": ("family",), "count": ("family", "reasoning_gym"), "config": ("reasoning_gym",)}
SUFFIX = re.compile(r"\.((json|jsonl|csv)(\.gz|\.zst)?|parquet)$", re.IGNORECASE)
NEEDS = {"family": ("levels", "count"), "reasoning_gym": ("count",)}


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
            # The url stands in the origin of every question.
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
    """One source; exactly one of `path`, `hub`, `url`, `family` and `reasoning_gym` says of what form."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = POOL

    preset: str | None = None
    """A known data set, by name: fills in whatever is not given here. A `path` or `url` given beside it is read the
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
    answer_from: How = "auto"
    r"""How the final answer stands in the answer column: `as_is`, after GSM8K's `####` (`hash`), in the last `\boxed{}`
    or as the `letter` of an option; `auto` decides row by row, and never takes a `solution` column as it is."""
    license: str | None = None
    """Such as `mit`; kept in the manifest."""
    citation: str | None = None
    """Whom to cite; kept in the manifest."""
    limit: PositiveInt | None = None
    """Rows to take: a sample that depends only on `seed` and the questions' text; null takes all."""
    seed: int = 0
    """Of the generator, or of the sample that `limit` draws."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        return fill_in(given, cls.presets, FORMS)

    @model_validator(mode="after")
    def _one_form(self) -> "SourceParams":
        forms = [form for form in FORMS if getattr(self, form) is not None]
        if len(forms) != 1:
            raise ValueError(f"give exactly one of {', '.join(FORMS)}, not {' and '.join(forms) or 'none'}")
        for key in NEEDS.get(forms[0], ()):
            if not getattr(self, key):
                raise ValueError(f"a source given by `{forms[0]}` needs `{key}`")
        for key, owners in BELONGS_TO.items():
            if getattr(self, key) and forms[0] not in owners:
                raise ValueError(f"`{key}` has no meaning for a source given by `{forms[0]}`")
        return self


def check_names(sources: tuple[SourceParams, ...]) -> None:
    """Refuse an empty list, and two sources with one name: their ids would be mixed up.

    Raises:
        ValueError: for a pydantic validator to report.
    """
    if not sources:
        raise ValueError("list at least one")
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the name {', '.join(twice)} is used twice")
