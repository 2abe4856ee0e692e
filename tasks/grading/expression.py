"""Whether two expressions are equal in value.

Values are Fractions as long as they can be, else complex floats. Two expressions with variables are compared at fixed
points: a nonzero difference is hardly ever zero at points that nobody chose for it (J. T. Schwartz, "Fast Probabilistic
Algorithms for Verification of Polynomial Identities", Journal of the ACM 27, 1980). Powers are capped.
"""

import cmath
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from tasks.grading.reader import Node, Parsed, UnreadableError
from tasks.grading.trees import alternates, has, natural, of_ten

MAX_BITS = 8_192
"""Longest exact power, in bits."""
MAX_FACTORIAL = 170
MAX_EXACT_FACTORIAL = 2_100
"""Past a year's number, as questions like to have it."""
MAX_CHOICE = 1_000
EQUAL = 1e-11
APART = 1e-6
"""Relative differences below `EQUAL` are rounding, above `APART` real; between them nothing is decided."""
POINTS = 3
NEGATIVE = 2
"""The point at which variables are negative."""
FAR_POINTS = 7
FAR = {3: 11, 4: 37, 5: -11, 6: 97}
"""Further points, many times as large: for what is stepped or folded, and may look alike near 0."""
WHOLE_POINTS = range(10, 16)
"""Points at which every variable is an integer, odd and even: for powers of what is negative, as in `(-1)^n`."""
WHOLE_NAMES = frozenset("kmn")
"""Variables that are integers, where they are rounded: floor(n/2) is ceil((n-1)/2)."""
ROUNDED = ("lfloor", "lceil")
STEPPED = ("abs", "root", *ROUNDED)
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
        # log may be meant as ln, which it is if that makes them equal, or to any other base.
        return None if of_ten(left.node) else same(natural(left), natural(right)) or None
    found = 0
    for point in _points(left, right):
        a, b = evaluate(left, point), evaluate(right, point)
        if a is None or b is None:
            continue
        equal = equal_values(a, b)
        if equal and not (isinstance(a, Fraction) and isinstance(b, Fraction)) and abs(complex(a)) > LARGE:
            # What differs by little beside so much is lost in floats.
            return None
        if not equal:
            # At negative values roots take other branches.
            if (point == NEGATIVE or FAR.get(point, 1) < 0) and found and complex(a).imag and complex(b).imag:
                # No real number is there: sqrt(x^3) and x sqrt(x) are the same to a reader.
                continue
            return None if point == NEGATIVE and found else equal
        found += 1
    return True if found else None


def _points(left: Parsed, right: Parsed) -> Sequence[int]:
    """Where two expressions are compared."""
    names = left.names | right.names
    if not names:
        return range(1)
    rounded = [has(side.node, ROUNDED) for side in (left, right)]
    whole = any(alternates(side.node) or has(side.node, ("!!",)) for side in (left, right))
    if whole or (all(rounded) and names <= WHOLE_NAMES):
        return WHOLE_POINTS
    if any(rounded):
        return (*range(FAR_POINTS), *WHOLE_POINTS)
    return range(FAR_POINTS if has(left.node, STEPPED) or has(right.node, STEPPED) else POINTS)


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
                raise UnreadableError
            return Fraction(a) ** b.numerator
        return _root(_power(a, Fraction(b.numerator)), Fraction(b.denominator))
    if not isinstance(b, Fraction) and complex(a).real < 0 and not complex(a).imag:
        # (-1)^{2n} is 1 for whole n, and who knows what for others.
        raise UnreadableError
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
            raise UnreadableError
        return Fraction(math.factorial(a.numerator))
    return complex(math.gamma(_real(a) + 1))


def _double_factorial(a: Value) -> Value:
    if not isinstance(a, Fraction) or a.denominator != 1 or not -1 <= a <= MAX_EXACT_FACTORIAL:
        raise UnreadableError
    return Fraction(math.prod(range(a.numerator, 0, -2)))


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
    "!!": _double_factorial,
    "binom": _binomial,
    "neg": lambda a: -a,
    "abs": abs,
    "lfloor": lambda a: _whole(a, math.floor),
    "lceil": lambda a: _whole(a, math.ceil),
}
