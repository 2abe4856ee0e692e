"""Answers in words: which are plainly the same, and which plainly are not; and answers of several labelled parts."""

import re

from tasks.grading.brackets import read_list

SYNONYMS = {
    "yes": "true yes correct 是 是的 对 正确 成立 真",
    "no": "false no incorrect 否 不是 错 错误 不成立 假",
    "nothing": "none nosolution nosolutions nosolutionexists nosolutionsexist hasnosolution hasnosolutions"
    " norealsolution norealsolutions norealroots"
    " emptyset nullset \\emptyset \\varnothing \\{\\} ∅ 无解 空集 没有 不存在 没有解 无实数解 无实根",
    "reals": "allrealnumbers allreals -\\infty\\infty -\\infty+\\infty \\mathbb{r} 全体实数 一切实数 任意实数",
    "integers": "allintegers \\mathbb{z} 全体整数 所有整数",
    "converges": "convergent 收敛",
    "diverges": "divergent 发散",
    "undefined": "doesnotexist dne undefined 无定义",
    "infinity": "divergestoinfinity tendstoinfinity"
    " infinity infinite infinitelymany \\infty 无穷 无穷大 positiveinfinity plusinfinity +\\infty 正无穷",
    "-infinity": "-\\infty negativeinfinity minusinfinity 负无穷",
    "等边三角形": "正三角形 等边",
    "充要": "充分必要 必要充分 充分且必要",
}
DATES = (
    "monday tuesday wednesday thursday friday saturday sunday"
    " january february march april june july august october november december"
)
SYNONYMS |= {name: f"{name[:3]} {name[:4]} {name[:5]}" for name in DATES.split()}
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty",
    "零 一 二 三 四 五 六 七 八 九 十",
)
MEANINGS = {word: meaning for meaning, words in SYNONYMS.items() for word in words.split()} | {
    word: str(number) for words in NUMBERS for number, word in enumerate(words.split())
}
"""The meaning of each word: one for all synonyms."""
DATE = re.compile(r"(\\text ?\{ ?)?(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)[.]? (?=[0-9])")
TENS_NAMED = "twenty thirty forty fifty sixty seventy eighty ninety"
TENS = {word: 10 * place for place, word in enumerate(TENS_NAMED.split(), start=2)}
TWO_DIGITS = re.compile(rf"({'|'.join(TENS)})(?:[ -]({'|'.join(NUMBERS[0].split()[1:10])}))?")
PARTS = {
    "half": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "tenth": 10,
}
NEGATIVE = re.compile(r"(?:minus|negative) (.+)")
FRACTION = re.compile(rf"(an?|{'|'.join(NUMBERS[0].split()[1:10])})[ -]({'|'.join(PARTS)})s?")

FILLING = re.compile(
    r"^(?:the|this) (?:series|sequence|integral|limit) (?:is )?(?=[a-z])"
    r"|^(?:the|an?|it is|there (?:is|are)|answer is)\b ?|^on (?=[A-Z])",
    re.IGNORECASE,
)
CHINESE_TENS = {"十": 10, "百": 100}
CHINESE_NUMBER = re.compile(r"([0-9零一二三四五六七八九十百]{1,6})(?:分之([0-9零一二三四五六七八九十百]{1,6}))?")
IN_TEXT = re.compile(r"\\text ?\{ ?([A-Za-z][A-Za-z -]*?) ?\}")
KIND_NAMED = re.compile(r"(?<=[a-z]{3})(?:function|solution|triangle|number)s?$")
"""The noun after `odd` and `infinitely many`."""
SUBJECT = re.compile(r"^(?:原|该|此)?(?:方程组|方程|不等式|命题|极限|级数)(?=.)")
MEMBER = re.compile(r"^[a-z]\\in(?=\\)")
NEGATION = re.compile(r"^(?:(?:not|non|un|in)-?(?=...)|[不非](?=.))")
WORD = re.compile(r"[a-z0-9]+")
VALUE = re.compile(r"=|^-?[0-9.]+$")
CAPITALISED = re.compile(r"[A-Z][a-z]+")
SPACES = re.compile(r"[\s.。,，;；:：'\"!?()（）]+")
CHINESE_NUMERAL = re.compile(r"[二三四五六七八九十百千万两]")
CHINESE_WORD = re.compile(r"[\u4e00-\u9fff]{1,12}")
ENGLISH_WORD = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+){0,2}")
PROSE = re.compile(r"[a-z]{9,}")
"""A run of letters that no formula has, in words without their spaces."""
NUMERIC = frozenset("0123456789+-./%\\{}^ abcdefghijklmnopqrstuvwxyz")


def as_digits(text: str) -> str:
    """The digits of a number in words; any other text unchanged."""
    if not text.isascii() and CHINESE_NUMBER.fullmatch(text):
        return CHINESE_NUMBER.sub(_chinese_number, text)
    if date := DATE.match(text):
        text = f"{date[1] or ''}{MEANINGS[date[2].casefold()].capitalize()} {text[date.end() :]}"
    wrapped = IN_TEXT.fullmatch(text)
    words = (wrapped[1] if wrapped else text).casefold()
    if negative := NEGATIVE.fullmatch(words):
        value = as_digits(negative[1])
        return text if value == negative[1] and not value.isdecimal() else f"-{value}"
    plain = MEANINGS.get(words, "")
    if plain.isdecimal():
        return plain
    if tens := TWO_DIGITS.fullmatch(words):
        return str(TENS[tens[1]] + int(MEANINGS.get(tens[2] or "zero", "0")))
    part = FRACTION.fullmatch("a half" if words == "half" else words)
    return f"\\frac{{{MEANINGS.get(part[1], '1')}}}{{{PARTS[part[2]]}}}" if part else text


def _chinese_number(match: re.Match[str]) -> str:
    """`12` of 十二, `\\frac{3}{5}` of 五分之三."""
    values = []
    for part in match.groups():
        total = digit = 0
        for sign in part or "":
            if sign in CHINESE_TENS:
                total, digit = total + (digit or 1) * CHINESE_TENS[sign], 0
            else:
                digit = digit * 10 + int(MEANINGS.get(sign, sign))
        values.append(total + digit)
    return f"\\frac{{{values[1]}}}{{{values[0]}}}" if match[2] else str(values[0])


def plain_words(text: str) -> str:
    """Words without case, spaces, articles and final stops, one word for all synonyms."""
    plain = SPACES.sub("", FILLING.sub("", text.strip()).casefold())
    if plain in MEANINGS:
        return MEANINGS[plain]
    plain = SUBJECT.sub("", plain)
    if plain in MEANINGS:
        return MEANINGS[plain]
    plain = plain.replace("而不", "不").replace("而非", "非")
    if len(plain) > 3:
        plain = plain.removesuffix("条件")
    plain = KIND_NAMED.sub("", MEMBER.sub("", plain))
    return MEANINGS.get(plain, plain)


def leading_word(text: str) -> str:
    """The yes or no that a sentence begins with: `No` of `No, it does not follow`."""
    first = re.split(r"[,.;:，。；]", text, maxsplit=1)[0]
    said = plain_words(first)
    # `Yes and no` is both.
    other = {"yes": "no", "no": "yes"}.get(said)
    return first if other and plain_words(text[len(first) + 1 :]) != other else text


def different_words(gold: str, answer: str) -> bool:
    """Whether two short answers are plainly different: names or terms of which neither contains the other."""
    left, right = plain_words(gold), plain_words(answer)
    # Where there is nothing there is no value.
    if not left or not right or _one_of_several(gold, answer) or (left == "nothing" and VALUE.search(right)):
        return True
    if left != right and {left, right} <= SYNONYMS.keys():
        return True
    bare = [NEGATION.sub("", side) for side in (left, right)]
    if {left, MEANINGS.get(bare[0], bare[0])} & {right, MEANINGS.get(bare[1], bare[1])}:
        return left != right
    if _within(gold, answer):
        # "Friday" and "Friday afternoon" may be the same, "even" and "not even" are not.
        return False
    short = [
        bool(CHINESE_WORD.fullmatch(side) or ENGLISH_WORD.fullmatch(side)) for side in (gold.strip(), answer.strip())
    ]
    number = [
        any(map(str.isdigit, side)) and NUMERIC.issuperset(side) and not PROSE.search(side) for side in (left, right)
    ]
    if any(number):
        # A number that the words do not contain, unless they spell one.
        return not all(number) and not any(CHINESE_NUMERAL.search(side) for side in (left, right))
    return all(short)


def _one_of_several(gold: str, answer: str) -> bool:
    """Whether one name is compared with several: `Alice` with `Alice, Bob`."""
    names = re.split(", ?", answer.strip())
    return len(names) > 1 and all(map(CAPITALISED.fullmatch, [gold.strip(), *names]))


def _within(gold: str, answer: str) -> bool:
    """Whether one answer contains the words of the other; in Chinese, its characters."""
    if not (gold.isascii() and answer.isascii()):
        left, right = plain_words(gold), plain_words(answer)
        return left in right or right in left
    words = [{word.removesuffix("s") for word in WORD.findall(text.casefold())} for text in (gold, answer)]
    return words[0] <= words[1] or words[1] <= words[0]


LABEL = re.compile(r"\((i{1,3}|iv|v|[a-d])\) ?(?=\S)")
WORDS = re.compile(r"(?:\\text ?\{)?([A-Za-z][A-Za-z ]{2,}|[\u4e00-\u9fff]+)\}?")


def labelled_parts(gold: str, answer: str) -> list[tuple[str, str]]:
    """The parts of both with the same label, or in the same place where the answer has no labels; else empty."""
    parts = [_parts(text) for text in (gold, answer)]
    if len(parts[0]) < 2:
        return []
    if parts[0].keys() == parts[1].keys():
        return [(parts[0][label], parts[1][label]) for label in parts[0]]
    bare = read_list(answer).parts
    return list(zip(parts[0].values(), bare, strict=True)) if not parts[1] and len(bare) == len(parts[0]) else []


def same_words(gold: str, answer: str) -> bool | None:
    """Whether two parts in words are the same; None unless both are words."""
    one, other = WORDS.fullmatch(gold), WORDS.fullmatch(answer)
    if one is None or other is None:
        return None
    return plain_words(one[1]) == plain_words(other[1])


def _parts(text: str) -> dict[str, str]:
    """By label; empty where a label comes twice."""
    found = LABEL.split(text)[1:]
    named = dict(zip(found[::2], (part.strip(" ,;") for part in found[1::2]), strict=True))
    return named if len(named) * 2 == len(found) else {}
