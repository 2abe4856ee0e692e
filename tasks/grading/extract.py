r"""The final answer of a response: what it put into its last `\boxed{}`, after its reasoning part.

Where it boxes nothing, or corrects itself after its box, its last words count. Only a sentence that concludes does
("so", "therefore", "is"), and none that doubts or negates; several values joined by commas or "and" are the answer
together.

A response is hostile input. Every search here is a plain substring search or one pass over the characters, and the
phrases are looked for in the last few thousand characters only, so the time is linear in the length.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tasks.grading.brackets import closing_brace
from tasks.grading.rules import Rules, Way
from tasks.grading.units import canonical_unit, measure

LAST_CHARS = 1_000
"""How much of the end is read: the searches for a conclusion take quadratic time."""

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
"""`It is a parabola`; but not `That is correct`, whose subject is not the answer."""
CONDITION = re.compile(r"((?:充分不必要|必要不充分|充要|充分必要|既不充分也不必要)(?:条件)?)[。.]?$")
UNIT_AFTER = re.compile(r" ?(?!in\b)((?P<unit>[A-Za-z]+(?:/[A-Za-z]+)?|[\u4e00-\u9fff]{1,2})(?:[²³]|\^[23])?)")
OPENING_LETTER = re.compile(r"\(?([A-J])\)?(?:[.,:。，：)]|不|$)")
CHOSEN_LETTER = re.compile(r"(?:is|it's|choose|pick|select|option|choice|选|answer:) *\(?([A-J])\b", re.IGNORECASE)


def announced_answer(after: str) -> str:
    """The value of a "final answer is" in what follows the box; empty where there is none."""
    last = after[-LAST_CHARS:]
    found = list(ANNOUNCED.finditer(last))
    if not found or "\\boxed" in after or DOUBTFUL.search(SENTENCE.split(last[found[-1].end() :])[0]):
        return ""
    value = VALUE.match(last, found[-1].end())
    return _content(value) if value and _is_whole(value) else ""


def concluding_answer(closing: str) -> str:
    """The conclusion of the last sentence: its last values, a list it assigns, or a word; else empty."""
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
    together = _joint_values(values, last)
    if len(together) > 1:
        return ", ".join(map(_content, together))
    return _content(values[-1]) if values and _is_whole(values[-1]) else ""


def _joint_values(values: list[re.Match[str]], sentence: str) -> list[re.Match[str]]:
    """The last values, joined by nothing but commas and `and`: `4 and 5`, `x = 5 and y = 6`."""
    found = values[-1:]
    for value in reversed(values[:-1]):
        if not BETWEEN.fullmatch(sentence[value.end() : found[0].start()]):
            break
        found.insert(0, value)
    if any(SUM_NAMED.match(_content(value)) for value in found):
        return found[-1:]
    return found if all(not TERM_BEFORE.search(sentence[: value.start()]) for value in found) else found[-1:]


def stated_value(sentence: str) -> str:
    """The value that a sentence gives its subject: `120` of `The volume of the box is 120`; other words unchanged."""
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
    """The letter at the beginning of a choice, or chosen in its last sentence; empty where there is none."""
    first = OPENING_LETTER.match(closing.strip())
    chosen = CHOSEN_LETTER.findall(closing.strip().rpartition("\n")[2])
    return first[1] if first else chosen[-1].upper() if chosen else ""


def _is_whole(value: re.Match[str]) -> bool:
    """Whether it is a whole value: not the `3` of `3x + 2`, nor the first of two answers."""
    before, after = value.string[: value.start()], value.string[value.end() :]
    if MORE.match(after):
        return False
    number = value.group(value.lastindex or 0) == value[0]
    return not number or (TERM_BEFORE.search(before) is None and NUMBER_ENDS.match(after) is not None)


def _content(value: re.Match[str]) -> str:
    content = next(group for group in value.groups() if group is not None).strip().rstrip(",")
    unit = UNIT_AFTER.match(value.string, value.end()) if value[0] == value[5] else None
    return f"{content} {unit[1]}" if unit and measure(canonical_unit(unit["unit"])) else content


CLOSING_CHARS = 4_000
"""How much of the end of a response is searched for an answer that is not in a box."""

ANSWER_PHRASE = re.compile(
    r"answer is|answer:|answer\*\*:|correct (?:option|choice) is|答案是|答案为|答案[:：]"
    r"|故选择|应选择|因此选|所以选|选择|故选|应选",
    re.IGNORECASE,
)
AMOUNT = re.compile(r"\$[0-9][0-9,]*(?:\.[0-9]+)?")
IN_WORDS = re.compile(r"(?<![A-Za-z\\{])[A-Za-z]{2,} [A-Za-z]{2,}|[.!?] ")
"""Words between two amounts of dollars, never in a formula."""
SENTENCE_END = re.compile(r"[.。!！?？;；](?=\s|$)|\n|。")
OPTION_LINE = re.compile(r"\**(?:(?:option|choice|选项?) ?)?\(?([A-J])\)?[.)。]?\**", re.IGNORECASE)
TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
PHRASE_BEFORE = re.compile(r"(?:the )?(?:final )?answer(?: is|:) *", re.IGNORECASE)
BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
MATHS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
BETWEEN_BOXES = re.compile(
    r"(?:,|;|、|\\text ?\{[ ,]*(?:and|or)[ ,]*\}|\band\b|\bor\b|和|或|\\q?quad|\\[()\[\],; ]|[ $]"
    r"|\b[A-Za-z](?:_\{?\w\}?)? ?=)*"
)
MAX_BOXES, MAX_BOX_CHARS = 20, 500
DEFAULT = Rules()


class Extraction(NamedTuple):
    """The final answer, or the reason for none."""

    answer: str | None
    reason: str | None = None


def extract(response: str, rules: Rules = DEFAULT) -> Extraction:
    r"""The final answer of a response.

    In this order, as far as `rules.extraction` allows: the last `\boxed{}` or `\fbox{}` and those next to it,
    unless a "final answer is" comes after it; the last `<answer>` that is closed; the text after the last `####`, at
    the end or a value; the sentence after the last "the answer is"; a last line that is nothing but an option's letter;
    the last bold words of the last line; the last formula or number of a closing sentence. Only the text after the last
    `</think>` counts. When the last box is unterminated there is no answer: an earlier box held something else.
    """
    final = after_reasoning(response)
    if final is None:
        return Extraction(None, "unfinished_reasoning")
    start = max(final.rfind("\\boxed"), final.rfind("\\fbox"))
    if start >= 0 and "box" in rules.extraction:
        return _boxed(final, start)
    return _unboxed(final[-CLOSING_CHARS:], rules)


def after_reasoning(response: str) -> str | None:
    """The text after the last `</think>`; None when a reasoning part was opened and never closed."""
    final = response.rpartition("</think>")[2]
    return None if "<think>" in final else final


def _boxed(text: str, start: int) -> Extraction:
    after = start + len("\\boxed" if text.startswith("\\boxed", start) else "\\fbox")
    while after < len(text) and text[after].isspace():
        after += 1
    if not text.startswith("{", after):
        # `\boxed 42`, as TeX allows; the answer ends at a space or a dollar.
        words = text[after : after + CLOSING_CHARS].replace("$", " ").split(maxsplit=1)
        return Extraction(words[0]) if words else Extraction(None, "empty_box")
    end = closing_brace(text, after)
    if end is None:
        return Extraction(None, "unterminated_box")
    content = announced_answer(text[end + 1 :][-CLOSING_CHARS:]) or stated_value(text[after + 1 : end].strip())
    return Extraction(_join_boxes(text, start, content)) if content else Extraction(None, "empty_box")


def _join_boxes(text: str, start: int, content: str) -> str:
    r"""The boxes of `\boxed{1}, \boxed{2} and \boxed{3}` as one list, with nothing but such words between them."""
    boxes = [content]
    while len(boxes) < MAX_BOXES:
        before = text[max(0, start - MAX_BOX_CHARS) : start]
        opening = before.rfind("\\boxed{")
        end = closing_brace(before, opening + len("\\boxed")) if opening >= 0 else None
        if end is None or not BETWEEN_BOXES.fullmatch(before[end + 1 :]):
            break
        boxes.insert(0, before[opening + len("\\boxed{") : end].strip())
        start -= len(before) - opening
    return ", ".join(dict.fromkeys(filter(None, boxes)))


def _unboxed(closing: str, rules: Rules) -> Extraction:
    ways = rules.extraction
    marked = _marked_answer(closing, ways)
    if marked is not None:
        return _extraction(marked)
    last = next((line.strip() for line in reversed(closing.split("\n")) if line.strip()), "")
    letter = OPTION_LINE.fullmatch(last) if "letter" in ways else None
    if letter:
        return _extraction(letter[1].upper())
    bold = BOLD.findall(last) if "bold" in ways else []
    if bold:
        return _extraction(stated_value(bold[-1]))
    if rules.kind == "choice" and "letter" in ways:
        return _extraction(opening_letter(closing))
    return _extraction(concluding_answer(closing) if "closing" in ways else "")


def _marked_answer(closing: str, ways: Sequence[Way]) -> str | None:
    """The answer behind a mark or a phrase; None where there is none."""
    tagged = TAGGED.findall(closing) if "tag" in ways and closing.rstrip().endswith("</answer>") else []
    if tagged:
        text = PHRASE_BEFORE.sub("", tagged[-1].strip())
        return _sentence(text) if text.startswith(("$", "\\(", "\\[")) else stated_value(text)
    _, marker, rest = closing.rpartition("####")
    line, _, after = rest.partition("\n")
    # Else it is a heading, with the answer further down.
    if marker and "hash" in ways and (not after.strip() or VALUE.fullmatch(line.strip())):
        return line
    phrases = list(ANSWER_PHRASE.finditer(closing)) if "phrase" in ways else []
    return _sentence(closing[phrases[-1].end() :]) if phrases else None


def _sentence(rest: str) -> str:
    """The answer in what follows "the answer is": the first formula, or else the words up to the sentence's end."""
    rest = rest.lstrip(" :：*\n")
    for opening, closing in MATHS:
        if rest.startswith(opening):
            formula, closed, after = rest[len(opening) :].partition(closing)
            if opening == "$" and not (closed and "\n" not in formula and not IN_WORDS.search(formula)):
                amount = AMOUNT.match(rest)
                return amount[0] if amount else stated_value(_until_its_end(rest))
            more = re.match(r",? ?(?:and|or|,|和|或) ?" + re.escape(opening), after)
            return f"{formula}, {_sentence(after[more.end() - len(opening) :])}" if more else formula
    return stated_value(_until_its_end(rest))


def _until_its_end(rest: str) -> str:
    end = SENTENCE_END.search(rest)
    return rest[: end.start()] if end else rest


def _extraction(answer: str) -> Extraction:
    answer = answer.strip().strip("*").strip()
    return Extraction(answer) if answer else Extraction(None, "no_answer")
