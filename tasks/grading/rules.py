"""The rules of a benchmark: what kind of answers it has, and what an answer may leave out."""

import json
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from tasks.core.errors import LimoError
from tasks.core.params import Params

Kind = Literal[
    "auto",
    "integer",
    "rational",
    "decimal",
    "expression",
    "interval",
    "set",
    "tuple",
    "equation",
    "matrix",
    "choice",
    "text",
]
KINDS: tuple[str, ...] = get_args(Kind)
ALIASES = {
    "": "auto",
    **dict.fromkeys(("number", "numeric", "numerical", "math", "any"), "auto"),
    **dict.fromkeys(("int",), "integer"),
    **dict.fromkeys(("fraction",), "rational"),
    **dict.fromkeys(("float",), "decimal"),
    **dict.fromkeys(("latex", "formula", "symbolic"), "expression"),
    **dict.fromkeys(("list", "unordered"), "set"),
    **dict.fromkeys(("point", "vector", "ordered"), "tuple"),
    **dict.fromkeys(("mcq", "multiple_choice", "multiple-choice", "letter", "option"), "choice"),
    **dict.fromkeys(("word", "words", "string"), "text"),
}
"""Other names of the kinds, as data sets have them."""

Way = Literal["box", "tag", "hash", "phrase", "letter", "bold", "closing"]
WAYS: tuple[Way, ...] = get_args(Way)
Requirement = Literal["unit", "percent", "degrees", "base", "currency"]


def plain_kind(word: Any) -> Any:
    """The kind that `word` means, or the word unchanged."""
    if not isinstance(word, str):
        return word
    name = word.strip().lower().replace(" ", "_")
    return ALIASES.get(name, name)


class Rules(Params):
    """How the answers of a benchmark are compared with its golds."""

    kind: Annotated[Kind, BeforeValidator(plain_kind)] = "auto"
    """What the golds are; `auto`: inferred from each gold. `choice`: letters of options. `text`: words."""
    ordered: bool | None = None
    """Whether the order of a list counts; null: in `(1, 2)` it does, in `1, 2` and a set it does not."""
    tolerance: float | None = Field(default=None, gt=0, lt=1)
    """Relative difference at which two numbers still agree; null: only where one is the other, rounded."""
    required: tuple[Requirement, ...] = ()
    """What an answer must state where the gold does; all else may be left out. A wrong unit is never right."""
    extraction: tuple[Way, ...] = Field(default=WAYS, min_length=1)
    r"""Where a final answer is looked for: `\boxed{}`, in `<answer>`, after `####`, "the answer is", a lone letter, a
    last bold, and the last formula or number of a closing sentence."""

    def text(self) -> str:
        """One canonical line: the bare kind where nothing else is set, else JSON."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        if set(given) <= {"kind"}:
            return self.kind
        return json.dumps(given, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=1_000)
def read_rules(text: str) -> Rules:
    """The rules of a canonical line.

    Raises:
        LimoError: it is neither a kind nor the JSON of rules.
    """
    try:
        return Rules.model_validate_json(text) if text.startswith("{") else Rules.model_validate({"kind": text})
    except ValueError:
        raise LimoError(f"grading rules `{text}`: neither one of {', '.join(KINDS)} nor the JSON of rules") from None
