r"""Read a LaTeX expression without evaluating anything as code, and tell whether two are equal in value.

A recursive-descent reader of what answers are made of: numbers, variables, fractions, roots, powers, functions. Values
are Fractions as long as they can be, else complex floats. Two expressions with variables are compared at fixed points:
a nonzero difference is hardly ever zero at points that nobody chose for it (J. T. Schwartz, "Fast Probabilistic
Algorithms for Verification of Polynomial Identities", Journal of the ACM 27, 1980). Length, depth and powers are
capped, so a reading costs microseconds.
"""

import cmath
import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

MAX_CHARS = 400
MAX_DEPTH = 24
MAX_BITS = 8_192
"""Longest exact power, in bits."""
MAX_FACTORIAL = 170
MAX_CHOICE = 1_000
EQUAL = 1e-9
APART = 1e-6
"""Relative differences below `EQUAL` are rounding, above `APART` real; between them nothing is decided."""
POINTS = 3
DIGITS = frozenset("0123456789.")
NEGATIVE = 2
"""The point at which variables are negative."""

WORDS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|sqrt|exp|log|ln|lg|pi"
TOKEN = re.compile(rf"\\[A-Za-z]+|\\[{{}}]|[0-9]+(?:\.[0-9]+)?|\.[0-9]+|{WORDS}|[A-Za-z]|[^\s]")
LONG_WORD = re.compile(rf"(?<![\\A-Za-z])(?!(?:{WORDS}))[A-Za-z]{{4,}}")
"""Not a product of variables."""
CONSTANTS: dict[str, complex] = {"\\pi": math.pi, "pi": math.pi, "e": math.e, "i": 1j}
GREEK = re.compile(
    r"\\(?:"
    r"alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|"
    r"varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega|angle|triangle|ell"
    r")"
)
FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "ln": cmath.log,
    "exp": cmath.exp,
    "lg": cmath.log10,
}
UNARY = frozenset([*FUNCTIONS, "log", "sqrt"])
TIMES = frozenset(["*", "\\times", "\\cdot"])
OVER = frozenset(["/", "\\div"])
ROUNDED = {"\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}"}

Value = Fraction | complex
Node = tuple[object, ...]


class UnreadableError(Exception):
    """The text is not an expression that is read here."""


class Parsed(NamedTuple):
    """An expression and the names of its variables."""

    node: Node
    names: frozenset[str]


@lru_cache(maxsize=20_000)
def read(text: str) -> Parsed | None:
    """The expression that a tidied `text` is, or None."""
    if not text or len(text) > MAX_CHARS or LONG_WORD.search(text):
        return None
    reader = _Reader(TOKEN.findall(text))
    try:
        node = reader.sum(0)
        reader.end()
    except UnreadableError:
        return None
    return Parsed(node, frozenset(reader.names))


def evaluate(parsed: Parsed, point: int = 0) -> Value | None:
    """The value where every variable has its value of `point`; None where there is none, or none that floats hold."""
    try:
        value = _value(parsed.node, point)
    except (UnreadableError, ZeroDivisionError, OverflowError, ValueError):
        return None
    if isinstance(value, Fraction):
        return value
    return value if cmath.isfinite(value) else None


def same(left: Parsed, right: Parsed) -> bool | None:
    """Whether two expressions have the same value wherever they have one; None when floats cannot tell."""
    if ("log" in left.names) != ("log" in right.names):
        # log may be meant as ln, or to any other base.
        return None
    found = 0
    for point in range(POINTS if left.names or right.names else 1):
        a, b = evaluate(left, point), evaluate(right, point)
        if a is None or b is None:
            continue
        equal = equal_values(a, b)
        if not equal:
            # At negative values roots take other branches: sqrt(x^3) and x sqrt(x) are the same to a reader.
            return None if point == NEGATIVE and found else equal
        found += 1
    return True if found else None


def equal_values(a: Value, b: Value) -> bool | None:
    """Whether two values are equal; None between rounding and a real difference."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    try:
        x, y = complex(a), complex(b)
    except OverflowError:
        return None
    size = max(abs(x), abs(y))
    if size < EQUAL:
        # Zero, or what cancellation left of it.
        return None if a != b else True
    difference = abs(x - y) / size
    return True if difference <= EQUAL else False if difference >= APART else None


def variable(name: str, point: int) -> float:
    """The value of a variable at a point: between 0.3 and 2.3 in size, the same in every run."""
    seed = 0
    for character in name:
        seed = (seed * 131 + ord(character)) % 100_003
    size = 0.3 + ((seed + 1) * (7_919 + 104_729 * point) % 100_003) / 50_001.5
    return -size if point == NEGATIVE else size


class _Reader:
    """Tokens of one expression, read from left to right."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
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
        sign = self._sign()
        node = self._product(depth)
        if sign < 0:
            node = ("neg", node)
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
            if token in TIMES:
                self._take()
                node, divided = ("*", node, self._signed_factor(depth)), False
            elif token in OVER:
                self._take()
                node, divided = ("/", node, self._signed_factor(depth)), True
            elif self._begins(token):
                # 1/2x may be meant either way.
                if divided or (token[0] in DIGITS and node[0] == "num"):
                    raise UnreadableError
                node = ("*", node, self._factor(depth))
            else:
                break
        return node

    def _signed_factor(self, depth: int) -> Node:
        return self._factor(depth) if self._sign() > 0 else ("neg", self._factor(depth))

    def _begins(self, token: str) -> bool:
        if token[0] == "\\":
            return (
                bool(GREEK.fullmatch(token))
                or token in ("\\pi", "\\frac", "\\sqrt", "\\binom", "\\{")
                or token[1:] in UNARY
            )
        return (token[0].isascii() and token[0].isalnum()) or token[0] == "." or token in ("(", "[", "{")

    def _factor(self, depth: int) -> Node:
        node = self._base(depth)
        while True:
            token = self._peek()
            if token == "^":
                self._take()
                node = self._raised(node, depth)
            elif token == "!":
                self._take()
                node = ("!", node)
            elif token == "%":
                self._take()
                node = ("/", node, ("num", Fraction(100)))
            else:
                return node

    def _raised(self, node: Node, depth: int) -> Node:
        exponent = self._group(depth)
        if exponent == ("degrees",):
            return ("*", node, ("const", math.pi / 180))
        return ("^", node, exponent)

    def _group(self, depth: int) -> Node:
        """What a command takes: a braced expression, or one token as in `\\frac12` and `x^2`."""
        if self._peek() == "{":
            self._take()
            if self._peek() == "\\circ":
                self._take()
                self._take("}")
                return ("degrees",)
            node = self.sum(depth + 1)
            self._take("}")
            return node
        if self._peek() == "\\circ":
            self._take()
            return ("degrees",)
        if self._peek() in ("+", "-"):
            return ("neg", self._base(depth)) if self._sign() < 0 else self._base(depth)
        return self._base(depth + 1)

    def _base(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise UnreadableError
        token = self._take()
        if token[0] in DIGITS:
            return self._number(token)
        if token in CLOSING:
            node = self.sum(depth + 1)
            self._take(CLOSING[token])
            return node
        if token == "|":
            node = self.sum(depth + 1)
            self._take("|")
            return ("abs", node)
        if token in ROUNDED:
            node = self.sum(depth + 1)
            self._take(ROUNDED[token])
            return (token[1:], node)
        if token == "\\frac":
            return ("/", self._group(depth + 1), self._group(depth + 1))
        if token == "\\binom":
            return ("binom", self._group(depth + 1), self._group(depth + 1))
        if token.lstrip("\\") in UNARY:
            return self._function(token.lstrip("\\"), depth)
        if token in ("\\pi", "pi", "e", "i"):
            return ("const", CONSTANTS[token])
        if GREEK.fullmatch(token) or (token.isascii() and token.isalpha()):
            return self._letter(token)
        raise UnreadableError

    def _number(self, token: str) -> Node:
        if token == "." or len(token) > MAX_CHARS // 2:
            raise UnreadableError
        whole = Fraction(token)
        # 7\frac{3}{11} is a mixed number.
        ahead = self._tokens[self._at : self._at + 7]
        mixed = "." not in token and [*ahead[:2], *ahead[3:5], *ahead[6:]] == ["\\frac", "{", "}", "{", "}"]
        if (
            mixed
            and ahead[2][0] in DIGITS
            and ahead[5][0] in DIGITS
            and "." not in ahead[2] + ahead[5]
            and int(ahead[5])
        ):
            self._at += 7
            return ("num", whole + Fraction(int(ahead[2]), int(ahead[5])))
        return ("num", whole)

    def _letter(self, token: str) -> Node:
        name = token
        if self._peek() == "_":
            self._take()
            name += "_" + self._subscript()
        self.names.add(name)
        return ("var", name)

    def _subscript(self) -> str:
        if self._peek() != "{":
            return self._take()
        self._take()
        parts = []
        while self._peek() != "}":
            parts.append(self._take())
        self._take("}")
        return "".join(parts)

    def _function(self, name: str, depth: int) -> Node:
        if name == "sqrt":
            index: Node = ("num", Fraction(2))
            if self._peek() == "[":
                self._take()
                index = self.sum(depth + 1)
                self._take("]")
            return ("root", self._group(depth + 1), index)
        base = power = None
        if name == "log" and self._peek() == "_":
            self._take()
            base = self._group(depth + 1)
        if self._peek() == "^":
            self._take()
            power = self._group(depth + 1)
        argument = self._argument(depth + 1)
        if name == "log" and base is None:
            # Of base 10 or e: a constant that both sides share.
            self.names.add("log")
            node: Node = ("*", ("var", "log"), ("fn", "ln", argument))
        elif base is not None:
            node = ("/", ("fn", "ln", argument), ("fn", "ln", base))
        else:
            node = ("fn", name, argument)
        if power == ("neg", ("num", Fraction(1))):
            raise UnreadableError
        return node if power is None else ("^", node, power)

    def _argument(self, depth: int) -> Node:
        """`\\sin(x)`, or as in `\\sin 2x` the product up to the next function."""
        bracketed = self._peek() in CLOSING
        node = self._factor(depth)
        while not bracketed and (token := self._peek()) and self._begins(token) and token.lstrip("\\") not in UNARY:
            if token in CLOSING:
                break
            node = ("*", node, self._factor(depth))
        return node


def _value(node: Node, point: int) -> Value:
    kind = node[0]
    if kind in ("num", "const"):
        return node[1]  # type: ignore[return-value]
    if kind == "var":
        return complex(variable(node[1], point))  # type: ignore[arg-type]
    if kind == "fn":
        return FUNCTIONS[node[1]](complex(_value(node[2], point)))  # type: ignore[index, arg-type]
    values = [_value(part, point) for part in node[1:]]  # type: ignore[arg-type]
    return _OPERATIONS[kind](*values)  # type: ignore[index]


def _add(a: Value, b: Value) -> Value:
    return a + b if isinstance(a, Fraction) and isinstance(b, Fraction) else complex(a) + complex(b)


def _times(a: Value, b: Value) -> Value:
    return a * b if isinstance(a, Fraction) and isinstance(b, Fraction) else complex(a) * complex(b)


def _over(a: Value, b: Value) -> Value:
    return a / b if isinstance(a, Fraction) and isinstance(b, Fraction) else complex(a) / complex(b)


def _power(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        if b.denominator == 1:
            bits = max(a.numerator.bit_length(), a.denominator.bit_length())
            if abs(b.numerator) * bits > MAX_BITS:
                raise UnreadableError
            return Fraction(a) ** b.numerator
        return _root(_power(a, Fraction(b.numerator)), Fraction(b.denominator))
    return complex(a) ** complex(b)


def _root(a: Value, index: Value) -> Value:
    """The real root where there is one: -2 for the third root of -8, as school has it."""
    if isinstance(a, Fraction) and isinstance(index, Fraction) and index.denominator == 1 and 0 < index < 100:
        n = index.numerator
        if n == 2 and a >= 0:
            top, bottom = math.isqrt(a.numerator), math.isqrt(a.denominator)
            if top * top == a.numerator and bottom * bottom == a.denominator:
                return Fraction(top, bottom)
        if a < 0 and n % 2:
            return -complex(float(-a) ** (1 / n))
    return complex(a) ** (1 / complex(index))


def _factorial(a: Value) -> Value:
    if isinstance(a, Fraction):
        if a.denominator != 1 or not 0 <= a <= MAX_FACTORIAL:
            raise UnreadableError
        return Fraction(math.factorial(a.numerator))
    return complex(math.gamma(_real(a) + 1))


def _binomial(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        if not a.denominator == b.denominator == 1 or not (0 <= a <= MAX_CHOICE and 0 <= b <= MAX_CHOICE):
            raise UnreadableError
        return Fraction(math.comb(a.numerator, b.numerator))
    # Of a variable: by gamma functions, of which it is the quotient.
    return _over(_factorial(a), _times(_factorial(b), _factorial(complex(a) - complex(b))))


def _real(a: complex) -> float:
    if abs(a.imag) > EQUAL or abs(a.real) > MAX_FACTORIAL:
        raise UnreadableError
    return a.real


def _whole(a: Value, rounding: Callable[[Fraction | float], int]) -> Value:
    if not isinstance(a, Fraction) and abs(a.imag) > EQUAL:
        raise UnreadableError
    return Fraction(rounding(a if isinstance(a, Fraction) else a.real))


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": _add,
    "*": _times,
    "/": _over,
    "^": _power,
    "root": _root,
    "!": _factorial,
    "binom": _binomial,
    "neg": lambda a: -a,
    "abs": abs,
    "lfloor": lambda a: _whole(a, math.floor),
    "lceil": lambda a: _whole(a, math.ceil),
}
