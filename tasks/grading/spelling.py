r"""Answers with parts that have several spellings: `(1)(3)`, `(a,b)=(2,3)`, `]0,1]`, `x \ne 1, x \ne 2`."""

import re
from fractions import Fraction
from itertools import pairwise

from tasks.grading.expression import evaluate
from tasks.grading.listing import listed, split
from tasks.grading.reader import read
from tasks.grading.relations import VALUE_OF_SET, Interval, condition, name_in

NUMBERED = re.compile(r"(?:\([1-9]\)[ ,;]*){2,9}")
"""Statements by their numbers."""
NAMED_TUPLE = re.compile(r"\((?P<names>[A-Za-z](?:_\w)?(?:, ?[A-Za-z](?:_\w)?)+)\) ?= ?(?P<values>\(.+\))")
UNEQUAL = re.compile(r"(?:[A-Za-z] ?\\in ?)?\\mathbb ?\{?R\}? ?(?:\\setminus|\\backslash|-) ?\\\{(?P<out>.+)\\\}")
OUTWARD = re.compile(r"([\[\]])([^\[\]]+,[^\[\]]+)([\[\]])")
"""An interval as French has it: `]0, 1]`."""
REAL = re.compile(r"(?<=.), ?[a-z] ?\\in ?\\mathbb ?\{? ?R ?\}?(?=\\?\}?$)")
POSITIVE = re.compile(r"\\mathbb ?\{? ?R ?\}? ?(?:[\^_] ?\{? ?\+ ?\}?|_ ?\{ ?> ?0 ?\})")
MAX_UNION = 4
INFINITE = re.compile(r"([+-]?) ?\\infty")
OUTSIDE = re.compile(r"\\?\|[A-Za-z]\\?\| ?(?P<sign>>|\\ge(?![a-z])) ?(?P<bound>[^<>=\\|]+|\\(?:frac|sqrt).+)")
"""`|x| > 2`."""
CHOICES = re.compile(r"\$? ?C ?(\([^()]{1,40},[^()]{1,40}\)) ?\$?")
NOT = re.compile(r"[A-Za-z] ?\\ne(?![a-z]) ?")


def same_point(gold: str, answer: str) -> tuple[str, str]:
    """Both texts; a point named C beside a pair without its name, since `C(4,3)` alone is a number of choices."""
    names = [CHOICES.fullmatch(text) for text in (gold, answer)]
    if names[0] and not names[1] and answer.lstrip("$ ").startswith("("):
        return names[0][1], answer
    if names[1] and not names[0] and gold.lstrip("$ ").startswith("("):
        return gold, names[1][1]
    return gold, answer


def labelled(text: str) -> str:
    """The list or interval that a text of the first sorts is; any other text as it is."""
    if text[:1] == "]" or text[-1:] == "[":
        return OUTWARD.sub(_inward, text)
    text = REAL.sub("", text)
    if POSITIVE.fullmatch(text):
        return "(0,\\infty)"
    if NUMBERED.fullmatch(text):
        return f"\\{{{', '.join(re.findall('[1-9]', text))}\\}}"
    named = NAMED_TUPLE.fullmatch(text)
    if named is None:
        return text
    names, values = named["names"].split(","), listed(named["values"]).parts
    if len(names) != len(values):
        return text
    return ", ".join(f"{name.strip()}={value}" for name, value in zip(names, values, strict=True))


def _inward(match: re.Match[str]) -> str:
    return f"{'(' if match[1] == ']' else '['}{match[2]}{')' if match[3] == '[' else ']'}"


def _left_out(text: str) -> list[str]:
    r"""The intervals that are all numbers but a few: of `x \ne \pm 3`, `\mathbb{R} \setminus \{1, 2\}`; else none."""
    match = UNEQUAL.fullmatch(text)
    parts = listed(match["out"] if match else text).parts
    if not match:
        if not NOT.match(text):
            return []
        parts = [NOT.sub("", part) for part in parts]
    found = _by_value(parts)
    ends = ["-\\infty", *(found[value] for value in sorted(found)), "\\infty"]
    return [f"({low},{high})" for low, high in pairwise(ends)] if found else []


def _by_value(parts: list[str]) -> dict[float, str]:
    r"""Numbers by their values, `\pm 3` as two; none where one has no real value."""
    found: dict[float, str] = {}
    for part in parts:
        for each in (part.replace("\\pm", "+"), part.replace("\\pm", "-")):
            value = _value(each)
            if value is None:
                return {}
            found[value] = each
    return found


def _value(text: str) -> float | None:
    """The real value of a number or an infinity."""
    if infinite := INFINITE.fullmatch(text):
        return float(f"{infinite[1]}inf")
    parsed = read(text)
    value = evaluate(parsed) if parsed and not parsed.names else None
    return None if value is None or complex(value).imag else complex(value).real


def _outside(text: str) -> list[str]:
    """The two pieces of `|x| > 2`; none of anything else."""
    match = OUTSIDE.fullmatch(text)
    if match is None:
        return []
    closed, bound = match["sign"] != ">", match["bound"]
    ends = Interval("-\\infty", f"-({bound})", False, closed), Interval(bound, "\\infty", closed, False)
    return [_written(each) for each in ends]


def _but(parts: list[str]) -> list[str]:
    r"""The pieces of an interval without some numbers: of `x \ge 1, x \ne 4`; none where it is something else."""
    met = [each for part in parts if (each := condition(part))]
    out = _by_value([NOT.sub("", part) for part in parts if NOT.match(part)])
    others = [part for part in parts if not NOT.match(part)]
    if not len(met) == len(others) == 1 or not out or len(set(map(name_in, parts))) > 1:
        return []
    (whole,) = met
    low, high = _value(whole.low), _value(whole.high)
    if low is None or high is None:
        return []
    inside = [out[value] for value in sorted(out) if low < value < high]
    first, last = (
        "[" if whole.low_closed and low not in out else "(",
        "]" if whole.high_closed and high not in out else ")",
    )
    ends = (
        [f"{first}{whole.low}", *(f"({value}" for value in inside)],
        [*(f"{value})" for value in inside), f"{whole.high}{last}"],
    )
    return [f"{low},{high}" for low, high in zip(*ends, strict=True)]


def conditions(text: str) -> list[str]:
    """`x<1, x>3` and `x \\ne 2` as the intervals of their union; empty where it is something else."""
    built = VALUE_OF_SET.fullmatch(text)
    text = built["condition"].rstrip("\\").strip() if built and "\\ne" in text else text
    if pieces := _left_out(text) or _outside(text):
        return pieces
    together = "\\land" in text
    parts = [part.strip() for part in text.split("\\land")] if together else split(text)
    if "\\ne" in text:
        return _but(parts)
    found = [condition(part) for part in parts]
    met = [each for each in found if each is not None]
    if len(met) < len(parts) or not 2 <= len(met) <= MAX_UNION:
        return []
    if not together and any("\\infty" not in each.low + each.high for each in met):
        return [_written(each) for each in met]
    if len(met) > 2:
        return []
    low, high = sorted(met, key=lambda each: each.low != "-\\infty")
    return _of_rays(low, high, together=together)


def _of_rays(low: Interval, high: Interval, *, together: bool) -> list[str]:
    """What two half-lines say, of which the second condition holds too, or instead."""
    ends = read(low.high), read(high.low)
    if low.low != "-\\infty" or high.high != "\\infty" or ends[0] is None or ends[1] is None:
        return []
    values = evaluate(ends[0]), evaluate(ends[1])
    if not all(isinstance(value, Fraction) for value in values) or ends[0].names or ends[1].names:
        return []
    written = [_written(low), _written(high)]
    if not together and complex(values[0] or 0).real <= complex(values[1] or 0).real:
        return written
    # Meant together, as two that overlap are with nothing but a comma between them.
    return [f"{written[1].partition(',')[0]},{written[0].partition(',')[2]}"]


def _written(each: Interval) -> str:
    return f"{'[' if each.low_closed else '('}{each.low},{each.high}{']' if each.high_closed else ')'}"
