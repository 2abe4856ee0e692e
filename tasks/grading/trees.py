"""Trees of expressions, changed or searched."""

from collections.abc import Sequence
from fractions import Fraction

from tasks.grading.reader import Node, Parsed


def natural(parsed: Parsed) -> Parsed:
    """The expression with `log` as `ln`."""
    return Parsed(substituted(parsed.node, {("var", "log"): ("num", Fraction(1))}), parsed.names - {"log"})


def of_ten(node: Node) -> bool:
    """Whether it has a logarithm of 10, 100, ..., which is hardly meant as a natural one."""
    if node[:2] == ("fn", "ln") and node[2] in (("num", 10), ("num", 100), ("num", 1000)):
        return True
    return any(isinstance(part, tuple) and of_ten(part) for part in node[1:])


def substituted(node: Node, others: dict[Node, Node]) -> Node:
    """The tree with others in place of some of its nodes."""
    if node in others:
        return others[node]
    return tuple(substituted(part, others) if isinstance(part, tuple) else part for part in node)


def alternates(node: Node) -> bool:
    """Whether a negative number is raised to a power with a variable in it."""
    if node[0] == "^" and _is_negative(node[1]) and _varies(node[2:]):
        return True
    return any(isinstance(part, tuple) and alternates(part) for part in node[1:])


def _is_negative(node: object) -> bool:
    return isinstance(node, tuple) and node[0] == "neg" and node[1][0] == "num"


def _varies(node: Node) -> bool:
    return node[0] == "var" or any(isinstance(part, tuple) and _varies(part) for part in node)


def has(node: Node, kinds: Sequence[str]) -> bool:
    """Whether an operation of one of these kinds is in it."""
    return node[0] in kinds or any(isinstance(part, tuple) and has(part, kinds) for part in node[1:])


def divides_by(node: Node, names: Sequence[str]) -> bool:
    """Whether one of the names stands below a fraction bar."""
    if node[0] == "/" and any(_names(node[2], name) for name in names):
        return True
    return any(isinstance(part, tuple) and divides_by(part, names) for part in node[1:])


def _names(node: object, name: str) -> bool:
    return isinstance(node, tuple) and (node == ("var", name) or any(_names(part, name) for part in node[1:]))
