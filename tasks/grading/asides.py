"""Words around an answer that say nothing more than it: `the circle x^2 + y^2 = 16`, `6 or 9 (both work)`, `a) 5`."""

import re

ASIDE = re.compile(r",? ?\\text ?\{[ ,(]*(?:for (?:all|any|every|each)|since|because)\b.*$")
"""Words that only say for which names an equation holds, or why."""
IN_BRACKETS = re.compile(
    r"(?<=[^\s(]) ?(?:\\text ?\{ ?)?\((?:both|all|each|which|this|checked|verified|as|approximately)"
    r"(?!.*\b(?:not?|only|except|but|in|mod)\b)(?: [a-z]{2,})+\)(?: ?\})?$"
)
"""Words about an answer: the `(both work)` of `6 or 9 (both work)`."""
NOUN = re.compile(
    r"^(?:\\text ?\{ ?)?(?:the )?(?:circle|ellipse|parabola|hyperbola|line|plane|curve|sphere|function|equation)"
    r"(?: with equation| given by| is)?:?(?: ?\})? ?(?=[-\\(\[0-9A-Za-z][^a-z]*?(?:[=^_(,]|\\in))"
)
"""What stands before the formula that it names: `the circle x^2 + y^2 = 16`."""
SAYS = re.compile(r"^\\text ?\{[^{}]* (?:is|are|equals):? ?\} ?(?=[-\\(\[0-9])")
BUILT = re.compile(
    r"^\\\{ ?[a-z] ?(?:\\mid|\||:) ?([a-z] ?= ?[^{}=]+?),? ?[a-z] ?\\in ?(?:\\mathbb ?\{? ?[ZN] ?\}?|[ZN]) ?\\\}$"
)
"""The set of all that a formula gives for the integers."""
LETTERED = re.compile(r"(?:^|(?<=[ ,;]))([a-d]|i{1,3})\)(?= ?\S)")
BARE_ASIDE = re.compile(r"^([^=]*=[^=]*?),? for (?:all|any|every|each)\b(?!.*(?:[=;<>0-9]|\\ne|\\[lg]e))[^=]*$")
ALL_OF = re.compile(
    r"^(?:\\text ?\{ ?)?all (?:(?:(?:real|possible) )?(?:numbers|reals|values)(?: of| with| such that)?(?: ?\})? ?"
    r"(?=[A-Za-z] ?(?:\\[lg]e(?![a-z])|[<>]))"
    r"|(?:positive )?integers(?: with| such that)?(?: ?\})? ?(?=[kmn] ?(?:\\ge(?![a-z])|>) ?[0-9]))"
)
"""The `all positive integers` of `all positive integers n \\ge 3`."""
EXTREME = re.compile(
    r"(?<!\\)(?:\\text ?\{ ?)?(?:the )?\b(max|min)(?:imum)?(?: value)?(?: is| of)?(?: ?\})? ?[:=]? ?(?=[-\\0-9])"
)
"""`maximum 5`, `\\text{min} = -3`, where both are given."""


def without_asides(text: str) -> str:
    """The answer alone, labels and extremes in one spelling."""
    if len(set(EXTREME.findall(text))) == 2:
        text = EXTREME.sub(r"\1=", text)
    text = BUILT.sub(r"\1", SAYS.sub("", text))
    text = NOUN.sub("", IN_BRACKETS.sub("", text))
    text = LETTERED.sub(r"(\1)", text) if "(" not in text else text
    return ALL_OF.sub("", BARE_ASIDE.sub(r"\1", ASIDE.sub("", text)))
