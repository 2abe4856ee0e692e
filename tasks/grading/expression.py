"""LaTeX expressions: parsed into a tree, without evaluating anything as code, and compared by value.

The recursive-descent parser takes what answers are made of: numbers, variables, fractions, roots, powers, functions.
Length and depth are capped, so parsing costs microseconds.

Values are Fractions as long as they can be, else complex floats. Two expressions with variables are compared at fixed
points: a nonzero difference is hardly ever zero at points that nobody chose for it (J. T. Schwartz, "Fast Probabilistic
Algorithms for Verification of Polynomial Identities", Journal of the ACM 27, 1980). Powers are capped.
"""

import cmath
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

DIGITS = frozenset("0123456789.")

WORDS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|sqrt|exp|log|ln|lg|pi"
TOKEN = re.compile(rf"\\[A-Za-z]+|\\[{{}}]|[0-9]+(?:\.[0-9]+)?|\.[0-9]+|{WORDS}|[A-Za-z]|[^\s]")
LONG_WORD = re.compile(rf"(?<![\\A-Za-z])(?!(?:{WORDS}))(?:[A-Za-z]{{4,}}|mod|gcd|lcm|max|min|det)")
"""Words that are no product of variables."""
DEGREE = math.pi / 180
CONSTANTS: dict[str, complex] = {"\\pi": math.pi, "pi": math.pi, "e": math.e, "i": 1j}
GREEK = re.compile(
    r"\\(?:"
    r"alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|"
    r"varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega|angle|triangle|ell"
    r")"
)
UNARY = frozenset(WORDS.split("|")) - {"pi"}
TIMES = frozenset(["*", "\\times", "\\cdot"])
OVER = frozenset(["/", "\\div"])
ROUNDED = {"\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}"}
BEGINNING = frozenset(["\\pi", "\\frac", "\\sqrt", "\\binom", "\\{", *ROUNDED])
NUMBER_OVER = ["\\frac", "{", "}", "{", "}"]
"""The tokens after the whole number of `7\\frac{3}{11}`, without the numbers."""


def letter_follows(below: object, ahead: list[str]) -> bool:
    """Whether a letter follows another, without a power or an argument: the `C` of `t/RC`."""
    if not (isinstance(below, tuple) and below[0] == "var"):
        return False
    return len(ahead[0]) == 1 and ahead[0].isalpha() and ahead[0] not in CONSTANTS and ahead[1:] not in (["^"], ["("])


def numeric_argument(ahead: list[str]) -> str:
    """The number in the argument of a function: `(0)` of `I(0)`, which is no product; else empty."""
    if ahead[0:3:2] != ["(", ")"] or ahead[1][0] not in DIGITS or ahead[3:] == ["("]:
        return ""
    return f"({ahead[1]})"


def begins_factor(token: str) -> bool:
    """Whether a factor may begin with this token."""
    if token[0] == "\\":
        return token in BEGINNING or token[1:] in UNARY or GREEK.fullmatch(token) is not None
    return (token[0].isascii() and token[0].isalnum()) or token[0] == "." or token in ("(", "[", "{")


MAX_CHARS = 400
MAX_DEPTH = 24
Node = tuple[object, ...]
ONE = Fraction(1)


class UnparsableError(Exception):
    """The text is not an expression that the parser knows."""


class Expression(NamedTuple):
    """An expression and the names of its variables."""

    node: Node
    names: frozenset[str]


@lru_cache(maxsize=20_000)
def parse(text: str) -> Expression | None:
    """The expression of a normalised `text`, or None."""
    if not text or len(text) > MAX_CHARS or LONG_WORD.search(text):
        return None
    reader = _Parser(TOKEN.findall(text))
    try:
        node = reader.sum(0)
        reader.end()
    except UnparsableError:
        return None
    return Expression(node, frozenset(reader.names))


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, words: list[str]) -> None:
        self._tokens = words
        self._at = 0
        self.names: set[str] = set()

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise UnparsableError

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        if not token or (expected and token != expected):
            raise UnparsableError
        self._at += 1
        return token

    def sum(self, depth: int) -> Node:
        """Terms joined by + and -."""
        if depth > MAX_DEPTH:
            raise UnparsableError
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
            if token in TIMES:
                self._take()
                node, divided = ("*", node, self._signed(depth)), False
            elif token in OVER:
                self._take()
                node, divided = ("/", node, self._signed(depth)), True
            elif begins_factor(token):
                node = self._implicit_product(node, token, depth, divided=divided)
            else:
                break
        return node

    def _implicit_product(self, node: Node, token: str, depth: int, *, divided: bool) -> Node:
        """A factor without a sign before it: t/RC is t/(RC), but 1/2x may be meant either way."""
        if divided and letter_follows(node[2], self._tokens[self._at : self._at + 2]):
            return ("/", node[1], ("*", node[2], self._factor(depth)))
        if divided or (token[0] in DIGITS and node[0] == "num"):
            raise UnparsableError
        return ("*", node, self._factor(depth))

    def _signed(self, depth: int) -> Node:
        return self._factor(depth) if self._sign() > 0 else ("neg", self._factor(depth))

    def _factor(self, depth: int) -> Node:
        node = self._base(depth)
        while True:
            token = self._peek()
            if token == "^":
                self._take()
                node = self._exponent(node, depth)
            elif token == "!":
                self._take()
                node = ("!!" if self._peek() == "!" and self._take() else "!", node)
            elif token == "%":
                self._take()
                node = ("/", node, ("num", Fraction(100)))
            else:
                return node

    def _exponent(self, node: Node, depth: int) -> Node:
        exponent = self._group(depth)
        return ("*", node, ("const", DEGREE)) if exponent == ("degrees",) else ("^", node, exponent)

    def _group(self, depth: int) -> Node:
        """The argument of a command: a braced expression, or one token as in `\\frac12` and `x^2`."""
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
            raise UnparsableError
        token = self._take()
        name = token.lstrip("\\")
        if token[0] in DIGITS:
            return self._number(token)
        if token in CLOSING:
            return self._until(CLOSING[token], depth)
        if token == "|":
            return ("abs", self._until("|", depth))
        if token in ROUNDED:
            return (name, self._until(ROUNDED[token], depth))
        if token in ("\\frac", "\\binom"):
            return ("/" if name == "frac" else name, self._group(depth + 1), self._group(depth + 1))
        if name in UNARY:
            return self._function(name, depth)
        if token in CONSTANTS:
            return ("const", CONSTANTS[token])
        if GREEK.fullmatch(token) or (token.isascii() and token.isalpha()):
            return self._letter(token)
        raise UnparsableError

    def _until(self, closing: str, depth: int) -> Node:
        node = self.sum(depth + 1)
        self._take(closing)
        return node

    def _number(self, token: str) -> Node:
        if token == "." or len(token) > MAX_CHARS // 2:
            raise UnparsableError
        whole = Fraction(token)
        # 7\frac{3}{11} is a mixed number.
        ahead = self._tokens[self._at : self._at + 7]
        if "." not in token and [*ahead[:2], *ahead[3:5], *ahead[6:]] == NUMBER_OVER:
            top, bottom = ahead[2], ahead[5]
            if top.isascii() and top.isdecimal() and bottom.isascii() and bottom.isdecimal() and int(bottom):
                self._at += 7
                return ("num", whole + Fraction(int(top), int(bottom)))
        return ("num", whole)

    def _letter(self, token: str) -> Node:
        name = token + (self._subscript() if self._peek() == "_" else "")
        if taken := numeric_argument(self._tokens[self._at : self._at + 4]):
            self._at += 3
            name += taken
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
            raise UnparsableError
        argument = self._argument(depth + 1)
        node: Node = ("fn", name, argument)
        if base is not None:
            node = ("/", ("fn", "ln", argument), ("fn", "ln", base))
        elif name == "log":
            # To base 10 or e: a constant factor that both sides share.
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
        """The superscript or subscript of a function's name."""
        if self._peek() != sign:
            return None
        self._take()
        return self._group(depth + 1)

    def _argument(self, depth: int) -> Node:
        """`\\sin(x)`, or as in `\\sin 2x` the product up to the next function."""
        bracketed = self._peek() in CLOSING
        node = self._factor(depth)
        while not bracketed and self._continues(self._peek()):
            node = ("*", node, self._factor(depth))
        return node

    def _continues(self, token: str) -> bool:
        ends = not token or token in CLOSING or token.lstrip("\\") in UNARY
        return not ends and begins_factor(token)


def with_natural_log(parsed: Expression) -> Expression:
    """The expression with `log` as `ln`."""
    return Expression(substitute(parsed.node, {("var", "log"): ("num", Fraction(1))}), parsed.names - {"log"})


def has_log_of_ten(node: Node) -> bool:
    """Whether it has a logarithm of 10, 100, ..., which is hardly meant to be natural."""
    if node[:2] == ("fn", "ln") and node[2] in (("num", 10), ("num", 100), ("num", 1000)):
        return True
    return any(isinstance(part, tuple) and has_log_of_ten(part) for part in node[1:])


def substitute(node: Node, others: dict[Node, Node]) -> Node:
    """The tree with some of its nodes replaced."""
    if node in others:
        return others[node]
    return tuple(substitute(part, others) if isinstance(part, tuple) else part for part in node)


def alternates_in_sign(node: Node) -> bool:
    """Whether a negative number is raised to a power with a variable in it."""
    if node[0] == "^" and _is_negative(node[1]) and _varies(node[2:]):
        return True
    return any(isinstance(part, tuple) and alternates_in_sign(part) for part in node[1:])


def _is_negative(node: object) -> bool:
    return isinstance(node, tuple) and node[0] == "neg" and node[1][0] == "num"


def _varies(node: Node) -> bool:
    return node[0] == "var" or any(isinstance(part, tuple) and _varies(part) for part in node)


def contains(node: Node, kinds: Sequence[str]) -> bool:
    """Whether the tree has an operation of one of these kinds."""
    return node[0] in kinds or any(isinstance(part, tuple) and contains(part, kinds) for part in node[1:])


def divides_by(node: Node, names: Sequence[str]) -> bool:
    """Whether one of the names is in a denominator."""
    if node[0] == "/" and any(_names(node[2], name) for name in names):
        return True
    return any(isinstance(part, tuple) and divides_by(part, names) for part in node[1:])


def _names(node: object, name: str) -> bool:
    return isinstance(node, tuple) and (node == ("var", name) or any(_names(part, name) for part in node[1:]))


MAX_BITS = 8_192
"""Longest exact power, in bits."""
MAX_FACTORIAL = 170
MAX_EXACT_FACTORIAL = 2_100
"""Large enough for 2024!, which contest questions use."""
MAX_CHOICE = 1_000
EQUAL = 1e-11
APART = 1e-6
"""Relative differences below `EQUAL` are rounding, above `APART` real; between them nothing is decided."""
POINTS = 3
NEGATIVE = 2
"""The point at which variables are negative."""
FAR_POINTS = 7
FAR = {3: 11, 4: 37, 5: -11, 6: 97}
"""Further points, many times as large: for steps and absolute values, which may look alike near 0."""
WHOLE_POINTS = range(10, 16)
"""Points at which every variable is an integer, odd and even: for powers of negative numbers, as in `(-1)^n`."""
WHOLE_NAMES = frozenset("kmn")
"""Variables taken for integers inside floor and ceil: floor(n/2) is ceil((n-1)/2)."""
ROUNDINGS = ("lfloor", "lceil")
STEPPED = ("abs", "root", *ROUNDINGS)
LARGE = 1e6

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

Value = Fraction | complex


def evaluate(parsed: Expression, point: int = 0) -> Value | None:
    """The value where every variable has its value of `point`; None where there is none, or floats overflow."""
    try:
        value = _value(parsed.node, point)
    except (UnparsableError, ZeroDivisionError, OverflowError, ValueError):
        return None
    if isinstance(value, Fraction):
        return value
    return value if cmath.isfinite(value) else None


def same_value(left: Expression, right: Expression) -> bool | None:
    """Whether two expressions have the same value wherever both are defined; None when floats cannot tell."""
    if ("log" in left.names) != ("log" in right.names):
        # log may be meant as ln, which it is if that makes them equal, or to any other base.
        return (
            None if has_log_of_ten(left.node) else same_value(with_natural_log(left), with_natural_log(right)) or None
        )
    found = 0
    for point in _points(left, right):
        a, b = evaluate(left, point), evaluate(right, point)
        if a is None or b is None:
            continue
        equal = equal_values(a, b)
        if equal and not (isinstance(a, Fraction) and isinstance(b, Fraction)) and abs(complex(a)) > LARGE:
            # A small difference of large values is lost in floats.
            return None
        if not equal:
            # At negative values roots take other branches.
            if (point == NEGATIVE or FAR.get(point, 1) < 0) and found and complex(a).imag and complex(b).imag:
                # No real number is there: sqrt(x^3) and x sqrt(x) are the same to a reader.
                continue
            return None if point == NEGATIVE and found else equal
        found += 1
    return True if found else None


def _points(left: Expression, right: Expression) -> Sequence[int]:
    """The points at which two expressions are compared."""
    names = left.names | right.names
    if not names:
        return range(1)
    rounded = [contains(side.node, ROUNDINGS) for side in (left, right)]
    whole = any(alternates_in_sign(side.node) or contains(side.node, ("!!",)) for side in (left, right))
    if whole or (all(rounded) and names <= WHOLE_NAMES):
        return WHOLE_POINTS
    if any(rounded):
        return (*range(FAR_POINTS), *WHOLE_POINTS)
    return range(FAR_POINTS if contains(left.node, STEPPED) or contains(right.node, STEPPED) else POINTS)


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


def variable(name: str, point: int) -> Value:
    """The value of a variable at a point: between 0.3 and 2.3 in size, the same in every run; or an integer."""
    seed = 0
    for character in name:
        seed = (seed * 131 + ord(character)) % 100_003
    if point in WHOLE_POINTS:
        return Fraction(1 + (seed * (2 * point + 1) + point * point) % 29)
    size = 0.3 + ((seed + 1) * (7_919 + 104_729 * point) % 100_003) / 50_001.5
    return complex(FAR.get(point, 1) * (-size if point == NEGATIVE else size))


def _value(node: Node, point: int) -> Value:
    kind = node[0]
    if kind in ("num", "const"):
        return node[1]  # type: ignore[return-value]
    if kind == "var":
        return variable(node[1], point)  # type: ignore[arg-type]
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
                raise UnparsableError
            return Fraction(a) ** b.numerator
        return _root(_power(a, Fraction(b.numerator)), Fraction(b.denominator))
    if not isinstance(b, Fraction) and complex(a).real < 0 and not complex(a).imag:
        # (-1)^{2n} is 1 for whole n, and not defined for others.
        raise UnparsableError
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
        if a.denominator != 1 or not 0 <= a <= MAX_EXACT_FACTORIAL:
            raise UnparsableError
        return Fraction(math.factorial(a.numerator))
    return complex(math.gamma(_real(a) + 1))


def _double_factorial(a: Value) -> Value:
    if not isinstance(a, Fraction) or a.denominator != 1 or not -1 <= a <= MAX_EXACT_FACTORIAL:
        raise UnparsableError
    return Fraction(math.prod(range(a.numerator, 0, -2)))


def _binomial(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        if not a.denominator == b.denominator == 1 or not (0 <= a <= MAX_CHOICE and 0 <= b <= MAX_CHOICE):
            raise UnparsableError
        return Fraction(math.comb(a.numerator, b.numerator))
    # Of a variable: as a quotient of gamma functions.
    return _over(_factorial(a), _times(_factorial(b), _factorial(complex(a) - complex(b))))


def _real(a: complex) -> float:
    if abs(a.imag) > EQUAL or abs(a.real) > MAX_FACTORIAL:
        raise UnparsableError
    return a.real


def _whole(a: Value, rounding: Callable[[Fraction | float], int]) -> Value:
    if not isinstance(a, Fraction) and abs(a.imag) > EQUAL:
        raise UnparsableError
    return Fraction(rounding(a if isinstance(a, Fraction) else a.real))


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": _add,
    "*": _times,
    "/": _over,
    "^": _power,
    "root": _root,
    "!": _factorial,
    "!!": _double_factorial,
    "binom": _binomial,
    "neg": lambda a: -a,
    "abs": abs,
    "lfloor": lambda a: _whole(a, math.floor),
    "lceil": lambda a: _whole(a, math.ceil),
}


INTEGRATION = re.compile(r"(?<=.)\+ ?[CcKk]$")
OF_A_VARIABLE = re.compile(r"[xtuyz]|\\theta")
OTHER_PARAMETER = re.compile(
    r"(?<![A-Za-z\\])(?![xtuyzei](?![A-Za-z]))[a-z](?![A-Za-z])|(?<![A-Za-z\\])[a-z]{2}(?![A-Za-z])"
)
CONSTANT = re.compile(r"[ABCKck](?:_[0-9])?")
"""A constant that may be any number: the `C` of an antiderivative, the `c_1` and `c_2` of a general solution."""
NUMBERED = re.compile(r"[Cc]_[0-9]")
MAX_CONSTANTS = 3


def strip_integration_constants(gold: str, answer: str) -> tuple[str, str] | None:
    """Two antiderivatives without their `+ C`; None unless both are."""
    found = INTEGRATION.search(gold), INTEGRATION.search(answer)
    if not (found[0] and found[1] and OF_A_VARIABLE.search(gold)):
        return None
    if not found[0][0].endswith("C") and OTHER_PARAMETER.search(gold[: found[0].start()]):
        # The c of ax + c is a parameter, as the a is.
        return None
    return gold[: found[0].start()].strip(), answer[: found[1].start()].strip()


def differ_by_constant(left: Expression, right: Expression) -> bool:
    """Whether two expressions of variables differ by the same number everywhere, as two antiderivatives may."""
    values = [(evaluate(left, point), evaluate(right, point)) for point in range(POINTS)]
    pairs = [(complex(one), complex(other)) for one, other in values if one is not None and other is not None]
    if len(pairs) < POINTS or not (left.names or right.names):
        return False
    size = max(abs(value) for pair in pairs for value in pair)
    first, *others = (one - other for one, other in pairs)
    # Relative to the values: the difference of large ones has their rounding error.
    return all(equal_values(size + first, size + other) for other in others)


def same_up_to_constants(left: Expression, right: Expression, fewest: int) -> bool:
    """Whether two general solutions are the same but for the names of their constants, or the order of these.

    Args:
        fewest: constants that there must be: one letter alone may be no constant at all.
    """
    own = [sorted(name for name in side.names if CONSTANT.fullmatch(name)) for side in (left, right)]
    variables = [side.names.difference(names) for side, names in zip((left, right), own, strict=True)]
    if len(own[0]) != len(own[1]) or not fewest <= len(own[0]) <= MAX_CONSTANTS or not variables[0]:
        return False
    numbered = [all(map(NUMBERED.fullmatch, names)) for names in own]
    # A name on both sides, or in a denominator, is a parameter and no free constant.
    if set(own[0]) & set(own[1]) and (own[0] != own[1] or not all(numbered)):
        return False
    alone = len(own[0]) == 1 and all("_" in name and name[0] not in "Cc" for names in own for name in names)
    if alone or divides_by(left.node, own[0]) or divides_by(right.node, own[1]):
        return False
    if variables[0] != variables[1] or (fewest > 1 and not any(numbered)):
        return False
    return any(
        same_value(left, _rename_variables(right, dict(zip(own[1], order, strict=True))))
        for order in permutations(own[0])
    )


def _rename_variables(parsed: Expression, names: dict[str, str]) -> Expression:
    others: dict[Node, Node] = {("var", old): ("var", new) for old, new in names.items()}
    return Expression(substitute(parsed.node, others), frozenset(names.get(name, name) for name in parsed.names))
