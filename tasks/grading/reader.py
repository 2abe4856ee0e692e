r"""Read a LaTeX expression into a tree, without evaluating anything as code.

A recursive-descent reader of what answers are made of: numbers, variables, fractions, roots, powers, functions. Length
and depth are capped, so a reading costs microseconds.
"""

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from tasks.grading import tokens

MAX_CHARS = 400
MAX_DEPTH = 24
Node = tuple[object, ...]
ONE = Fraction(1)


class UnreadableError(Exception):
    """The text is not an expression that is read here."""


class Parsed(NamedTuple):
    """An expression and the names of its variables."""

    node: Node
    names: frozenset[str]


@lru_cache(maxsize=20_000)
def read(text: str) -> Parsed | None:
    """The expression that a tidied `text` is, or None."""
    if not text or len(text) > MAX_CHARS or tokens.LONG_WORD.search(text):
        return None
    reader = _Reader(tokens.TOKEN.findall(text))
    try:
        node = reader.sum(0)
        reader.end()
    except UnreadableError:
        return None
    return Parsed(node, frozenset(reader.names))


class _Reader:
    """Tokens of one expression, read from left to right."""

    def __init__(self, words: list[str]) -> None:
        self._tokens = words
        self._at = 0
        self.names: set[str] = set()

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise UnreadableError

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        if not token or (expected and token != expected):
            raise UnreadableError
        self._at += 1
        return token

    def sum(self, depth: int) -> Node:
        """Terms joined by + and -."""
        if depth > MAX_DEPTH:
            raise UnreadableError
        node = self._product(depth) if self._sign() > 0 else ("neg", self._product(depth))
        while self._peek() in ("+", "-"):
            token = self._take()
            term = self._product(depth) if self._sign() > 0 else ("neg", self._product(depth))
            node = ("+", node, term) if token == "+" else ("+", node, ("neg", term))
        return node

    def _sign(self) -> int:
        sign = 1
        while self._peek() in ("+", "-"):
            sign = -sign if self._take() == "-" else sign
        return sign

    def _product(self, depth: int) -> Node:
        node = self._factor(depth)
        divided = False
        while token := self._peek():
            if token in tokens.TIMES:
                self._take()
                node, divided = ("*", node, self._signed(depth)), False
            elif token in tokens.OVER:
                self._take()
                node, divided = ("/", node, self._signed(depth)), True
            elif tokens.begins(token):
                node = self._beside(node, token, depth, divided=divided)
            else:
                break
        return node

    def _beside(self, node: Node, token: str, depth: int, *, divided: bool) -> Node:
        """A factor without a sign before it: t/RC is t/(RC), but 1/2x may be meant either way."""
        if divided and tokens.letters(node[2], self._tokens[self._at : self._at + 2]):
            return ("/", node[1], ("*", node[2], self._factor(depth)))
        if divided or (token[0] in tokens.DIGITS and node[0] == "num"):
            raise UnreadableError
        return ("*", node, self._factor(depth))

    def _signed(self, depth: int) -> Node:
        return self._factor(depth) if self._sign() > 0 else ("neg", self._factor(depth))

    def _factor(self, depth: int) -> Node:
        node = self._base(depth)
        while True:
            token = self._peek()
            if token == "^":
                self._take()
                node = self._raised(node, depth)
            elif token == "!":
                self._take()
                node = ("!!" if self._peek() == "!" and self._take() else "!", node)
            elif token == "%":
                self._take()
                node = ("/", node, ("num", Fraction(100)))
            else:
                return node

    def _raised(self, node: Node, depth: int) -> Node:
        exponent = self._group(depth)
        return ("*", node, ("const", tokens.DEGREE)) if exponent == ("degrees",) else ("^", node, exponent)

    def _group(self, depth: int) -> Node:
        """What a command takes: a braced expression, or one token as in `\\frac12` and `x^2`."""
        braced = self._peek() == "{"
        if braced:
            self._take()
        if self._peek() == "\\circ":
            node: Node = ("degrees",)
            self._take()
        elif braced:
            node = self.sum(depth + 1)
        else:
            sign = self._sign()
            node = self._base(depth + 1) if sign > 0 else ("neg", self._base(depth + 1))
        if braced:
            self._take("}")
        return node

    def _base(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise UnreadableError
        token = self._take()
        name = token.lstrip("\\")
        if token[0] in tokens.DIGITS:
            return self._number(token)
        if token in tokens.CLOSING:
            return self._until(tokens.CLOSING[token], depth)
        if token == "|":
            return ("abs", self._until("|", depth))
        if token in tokens.ROUNDED:
            return (name, self._until(tokens.ROUNDED[token], depth))
        if token in ("\\frac", "\\binom"):
            return ("/" if name == "frac" else name, self._group(depth + 1), self._group(depth + 1))
        if name in tokens.UNARY:
            return self._function(name, depth)
        if token in tokens.CONSTANTS:
            return ("const", tokens.CONSTANTS[token])
        if tokens.GREEK.fullmatch(token) or (token.isascii() and token.isalpha()):
            return self._letter(token)
        raise UnreadableError

    def _until(self, closing: str, depth: int) -> Node:
        node = self.sum(depth + 1)
        self._take(closing)
        return node

    def _number(self, token: str) -> Node:
        if token == "." or len(token) > MAX_CHARS // 2:
            raise UnreadableError
        whole = Fraction(token)
        # 7\frac{3}{11} is a mixed number.
        ahead = self._tokens[self._at : self._at + 7]
        if "." not in token and [*ahead[:2], *ahead[3:5], *ahead[6:]] == tokens.NUMBER_OVER:
            top, bottom = ahead[2], ahead[5]
            if top.isascii() and top.isdecimal() and bottom.isascii() and bottom.isdecimal() and int(bottom):
                self._at += 7
                return ("num", whole + Fraction(int(top), int(bottom)))
        return ("num", whole)

    def _letter(self, token: str) -> Node:
        name = token + (self._subscript() if self._peek() == "_" else "")
        if argument := tokens.argument(self._tokens[self._at : self._at + 4]):
            self._at += 3
            name += argument
        self.names.add(name)
        return ("var", name)

    def _subscript(self) -> str:
        self._take("_")
        if self._peek() != "{":
            return "_" + self._take()
        start = self._at + 1
        while self._take() != "}":
            continue
        return "_" + "".join(self._tokens[start : self._at - 1])

    def _function(self, name: str, depth: int) -> Node:
        if name == "sqrt":
            return self._rooted(depth)
        base = self._after("_", depth) if name == "log" else None
        power = self._after("^", depth)
        if power == ("neg", ("num", ONE)):
            # The inverse function, not the reciprocal.
            raise UnreadableError
        argument = self._argument(depth + 1)
        node: Node = ("fn", name, argument)
        if base is not None:
            node = ("/", ("fn", "ln", argument), ("fn", "ln", base))
        elif name == "log":
            # Of base 10 or e: a constant that both sides share.
            self.names.add("log")
            node = ("*", ("var", "log"), ("fn", "ln", argument))
        return node if power is None else ("^", node, power)

    def _rooted(self, depth: int) -> Node:
        index: Node = ("num", Fraction(2))
        if self._peek() == "[":
            self._take()
            index = self.sum(depth + 1)
            self._take("]")
        return ("root", self._group(depth + 1), index)

    def _after(self, sign: str, depth: int) -> Node | None:
        """What stands above or below a function's name."""
        if self._peek() != sign:
            return None
        self._take()
        return self._group(depth + 1)

    def _argument(self, depth: int) -> Node:
        """`\\sin(x)`, or as in `\\sin 2x` the product up to the next function."""
        bracketed = self._peek() in tokens.CLOSING
        node = self._factor(depth)
        while not bracketed and self._goes_on(self._peek()):
            node = ("*", node, self._factor(depth))
        return node

    def _goes_on(self, token: str) -> bool:
        ends = not token or token in tokens.CLOSING or token.lstrip("\\") in tokens.UNARY
        return not ends and tokens.begins(token)
