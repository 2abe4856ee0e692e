r"""The options of a multiple-choice question: an answer in the words of one, `12` for `B. 12`, is its letter.

Options come one a line or in a run: `A. 10 B. 12`, `(A) 10 (B) 12`, `A) 10`, `\textbf{(A)}\ 10`. The answer is
replaced before it is graded, so that a verdict depends on gold, answer and rules alone, as ever.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tasks.grading.equal import chosen_letter, option_letters
from tasks.grading.grader import Pair, VerdictCache, final_answer, grade_many
from tasks.grading.latex import normalise, squeeze
from tasks.grading.rules import read_rules
from tasks.grading.symbolic import Limits

LONGEST = 20_000
"""Characters of the end of a question that are searched."""
FONT = re.compile(
    r"(?:\\(?:textbf|textrm|text|mathbf|mathrm) ?\{|\*\*)\s{0,3}(\([A-J]\)|[A-J][.):])(?:\\ |\s|~){0,5}(?:\}|\*\*)"
)
MARK = re.compile(r"(?<![A-Za-z0-9_\\({$.])(?:\((?P<within>[A-J])\)|(?P<before>[A-J])(?P<sign>[.．、):：]))")
SPACING = ("\\qquad", "\\quad", "\\")
"""Spacing between options."""
LETTER = re.compile(r"\(?[A-J]\)?\.?")


class _Mark(NamedTuple):
    letter: str
    start: int
    end: int


def read_options(question: str) -> dict[str, str]:
    """The text of each option by its letter; empty where the question has not at least an A and a B."""
    text = FONT.sub(r" \1 ", question[-LONGEST:])
    found: list[_Mark] = []
    by_style: dict[tuple[bool, str], list[_Mark]] = {}
    for match in MARK.finditer(text):
        mark = _Mark(match["within"] or match["before"], match.start(), match.end())
        opens_line = not text[text.rfind("\n", 0, mark.start) + 1 : mark.start].strip(" \t$*-")
        for place in {False, opens_line}:
            by_style.setdefault((place, match["sign"] or "()"), []).append(mark)
    for _, marks in sorted(by_style.items(), reverse=True):
        run = _longest_run(marks)
        found = run if len(run) > max(len(found), 1) else found
    ends = [*(mark.start for mark in found[1:]), len(text)]
    texts = {mark.letter: text[mark.end : end] for mark, end in zip(found, ends, strict=False)}
    if texts:
        # The text after the last option is no part of it.
        texts[found[-1].letter] = texts[found[-1].letter].strip().partition("\n")[0]
    return {letter: plain for letter, one in texts.items() if (plain := _strip_spacing(one))}


def _strip_spacing(text: str) -> str:
    before = None
    while before != text:
        before, text = text, text.strip(" \n\t~,;，；")
        for spacing in SPACING:
            text = text.removesuffix(spacing)
        if text.startswith(("\\ ", "\\q", "\\\\")):
            text = text.removeprefix("\\qquad").removeprefix("\\quad").removeprefix("\\ ").removeprefix("\\\\")
    return text


def _longest_run(marks: Iterable[_Mark]) -> list[_Mark]:
    """The longest of A, B, C, ... in order, and of these the last."""
    best: list[_Mark] = []
    run: list[_Mark] = []
    for mark in marks:
        if mark.letter == "A":
            run = [mark]
        elif run and ord(mark.letter) == ord(run[-1].letter) + 1:
            run.append(mark)
        best = run if len(run) >= len(best) else best
    return best


def replace_by_letters(
    pairs: Sequence[Pair], questions: Sequence[object], limits: Limits, cache: VerdictCache | None = None
) -> list[Pair]:
    """The pairs; where an answer equals exactly one option's text, the letter of that option is the answer.

    Args:
        questions: of each pair; a value that is no text has no options.
        cache: as for `grade_many`.
    """
    offered: dict[int, tuple[str, dict[str, str]]] = {}
    known: dict[str, dict[str, str]] = {}
    for at, (pair, question) in enumerate(zip(pairs, questions, strict=True)):
        if isinstance(question, str) and (
            read_rules(pair.rules).kind == "choice" or LETTER.fullmatch(pair.gold.strip()) is not None
        ):
            if question not in known:
                known[question] = read_options(question)
            texts = known[question]
            golds = option_letters(squeeze(normalise(pair.gold[:LONGEST])))
            answer = _worded_answer(pair) if golds and set(golds) <= texts.keys() else None
            if answer:
                offered[at] = (answer, texts)
    choices = [Pair(text, answer, bare=True) for answer, texts in offered.values() for text in texts.values()]
    verdicts = iter(grade_many(choices, limits, cache))
    replaced = list(pairs)
    for at, (_, texts) in offered.items():
        found = {letter: verdict.rule for letter in texts if (verdict := next(verdicts)).verdict == "correct"}
        same = [letter for letter, rule in found.items() if len(found) == 1 or rule == "string"]
        if len(same) == 1:
            replaced[at] = pairs[at]._replace(response=same[0], bare=True)
    return replaced


def _worded_answer(pair: Pair) -> str | None:
    """The final answer, where there is one that is not a letter already."""
    answer = final_answer(pair).answer
    if answer is None or len(answer) > LONGEST:
        return None
    plain = squeeze(normalise(answer))
    return None if option_letters(plain) or chosen_letter(plain) else answer
