r"""What a response concludes in its last words, where it boxes nothing, or says something else after its box.

Only a sentence that concludes counts ("so", "therefore", "is"), and none that doubts or negates; several values
joined by commas or "and" are the answer together.
"""

import re

from tasks.grading.units import measure, one_name

LAST_CHARS = 1_000
"""How much of the end is read: the searches here are of quadratic time."""

CONCLUDING = re.compile(
    r"\b(?:therefore|thus|hence|so|answer|solution|result|finally|is|are|equals|(?:get|find|have|obtain)s?)\b"
    r"|=|[:：] *(?=[$\\])|所以|因此|故|答|为|是",
    re.IGNORECASE,
)
DOUBTFUL = re.compile(
    r"\b(?:not|cannot|maybe|perhaps|probably|either|could|might|possibl[ey]|guess|suppose|assume|let|if|or)\b|n't"
    r"|\?|？|可能|也许|假设|设",
    re.IGNORECASE,
)
COURTESY = re.compile(r"I hope it is correct\W*$|<\|[a-z_]+\|>\w*\s*$|Let me know[^.]*\.?\s*$")
SENTENCE = re.compile(r"(?<=[.。!！?？])\s+|。")
NUMBER = r"(?<![A-Za-z0-9_.])[-−+]?[£€¥]?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?(?:\\?%)?"
CLOCK = r"(?<![0-9:])[0-9]{1,2}:[0-5][0-9](?: ?[AaPp]\.?[Mm]\b(?:\.(?!$))?)?"
VALUE = re.compile(rf"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]|({CLOCK}|{NUMBER})")
ANNOUNCED = re.compile(
    r"(?:^|[.。!?,\n])[\s*]*(?:(?:so|thus|hence|therefore|but|and),? )?(?:(?:the|my|our) )?final answer(?: is|:)[: *]*"
    r"(?=[-$\\(\d])",
    re.IGNORECASE,
)
"""A sentence that begins so and nothing else: not "a common wrong final answer is"."""
MORE = re.compile(r"\s*(?:,|and|or)\s*[$\\0-9]")
BETWEEN = re.compile(r"\s*(?:,|，|、|,? ?\band\b|和|与)\s*(?:[A-Za-z] ?= ?)?")
TERM_BEFORE = re.compile(r"[-+*/^_×·(\[{<>]\s*$")
NUMBER_ENDS = re.compile(r"\s*(?:$|[.。,;!*°€£¥)]|m[²³]|[a-z]{2}|[\u4e00-\u9fff]|\^?\\circ|\\?%|\\text)")
SUBJECT = re.compile(r"(?:the|there|it|they|its|this|so)\b.* (?:is|are|equals) +(?=[-$\\(\[\d.])", re.IGNORECASE)
OTHERWISE = re.compile(r"(?<!\^)[0-9]|!|\b(?:is|are|equals|more|less|times)\b.")
"""What a sentence of one subject and one value does not have: `the sum is 12 and the product is 35`."""
SUM_NAMED = re.compile(r"[A-Za-z](?!_)[^=]*[^= ][^=]*=")
"""The working before it is not part of the answer `m + n = 7`."""
ASSIGNED = re.compile(
    r"(?:\(? ?[A-Za-z](?: ?, ?[A-Za-z]){0,3} ?\)?|[A-Za-z]_?[0-9]?) ?(?:=|∈) ?([({\[][^$=]{1,80}[)}\]])[.。]?$"
)
"""A list that a closing sentence gives to a name: `(x, y) = (4, 1)`, `x ∈ {1, 2}`."""
SAID = re.compile(r"(?:it|this|that) (?:is|was|will be) (?:an?|the|on) ([A-Za-z]{3,})[.!]?", re.IGNORECASE)
"""`It is a parabola`; but not `That is correct`, which is said of something else."""
CONDITION = re.compile(r"((?:充分不必要|必要不充分|充要|充分必要|既不充分也不必要)(?:条件)?)[。.]?$")
UNIT_AFTER = re.compile(r" ?(?!in\b)((?P<unit>[A-Za-z]+(?:/[A-Za-z]+)?|[\u4e00-\u9fff]{1,2})(?:[²³]|\^[23])?)")
OPENING_LETTER = re.compile(r"\(?([A-J])\)?(?:[.,:。，：)]|不|$)")
CHOSEN_LETTER = re.compile(r"(?:is|it's|choose|pick|select|option|choice|选|answer:) *\(?([A-J])\b", re.IGNORECASE)


def announced(after: str) -> str:
    """The value of a "final answer is" in what follows the box; empty where there is none."""
    last = after[-LAST_CHARS:]
    found = list(ANNOUNCED.finditer(last))
    if not found or "\\boxed" in after or DOUBTFUL.search(SENTENCE.split(last[found[-1].end() :])[0]):
        return ""
    value = VALUE.match(last, found[-1].end())
    return _content(value) if value and _is_whole(value) else ""


def concluded(closing: str) -> str:
    """What the last sentence concludes with: its last values, a list it assigns, or a word; else empty."""
    text = COURTESY.sub("", closing[-LAST_CHARS:].rstrip()).rstrip()
    text = COURTESY.sub("", text).rstrip().rpartition("\n\n")[2].replace("\n", " ")
    sentences = [sentence for sentence in SENTENCE.split(text) if sentence.strip()]
    last = sentences[-1].strip() if sentences else ""
    whole = VALUE.fullmatch(last)
    if whole:
        return _content(whole)
    if DOUBTFUL.search(last):
        return ""
    if said := SAID.fullmatch(last) or ASSIGNED.search(last) or CONDITION.search(last):
        return said[1]
    values = list(VALUE.finditer(last)) if CONCLUDING.search(last) or re.search(CLOCK, last) else []
    together = _together(values, last)
    if len(together) > 1:
        return ", ".join(map(_content, together))
    return _content(values[-1]) if values and _is_whole(values[-1]) else ""


def _together(values: list[re.Match[str]], sentence: str) -> list[re.Match[str]]:
    """The last values that nothing but commas and `and` stand between: `4 and 5`, `x = 5 and y = 6`."""
    found = values[-1:]
    for value in reversed(values[:-1]):
        if not BETWEEN.fullmatch(sentence[value.end() : found[0].start()]):
            break
        found.insert(0, value)
    if any(SUM_NAMED.match(_content(value)) for value in found):
        return found[-1:]
    return found if all(not TERM_BEFORE.search(sentence[: value.start()]) for value in found) else found[-1:]


def stated(sentence: str) -> str:
    """What a sentence says its subject is: `120` of `The volume of the box is 120`; any other words as they are."""
    subject = SUBJECT.match(sentence.strip())
    value = VALUE.match(sentence.strip(), subject.end()) if subject else None
    if (
        subject is None
        or value is None
        or OTHERWISE.search(subject[0][:-1])
        or OTHERWISE.search(sentence.strip()[value.end() :])
    ):
        return sentence
    return _content(value) if _is_whole(value) else sentence


def opening_letter(closing: str) -> str:
    """The letter that a choice begins with, or that its last sentence chooses; empty where there is none."""
    first = OPENING_LETTER.match(closing.strip())
    chosen = CHOSEN_LETTER.findall(closing.strip().rpartition("\n")[2])
    return first[1] if first else chosen[-1].upper() if chosen else ""


def _is_whole(value: re.Match[str]) -> bool:
    """Whether no term stands before or after it: not the `3` of `3x + 2`, nor the first of two answers."""
    before, after = value.string[: value.start()], value.string[value.end() :]
    if MORE.match(after):
        return False
    number = value.group(value.lastindex or 0) == value[0]
    return not number or (TERM_BEFORE.search(before) is None and NUMBER_ENDS.match(after) is not None)


def _content(value: re.Match[str]) -> str:
    content = next(group for group in value.groups() if group is not None).strip().rstrip(",")
    unit = UNIT_AFTER.match(value.string, value.end()) if value[0] == value[5] else None
    return f"{content} {unit[1]}" if unit and measure(one_name(unit["unit"])) else content
