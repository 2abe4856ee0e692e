"""Trees of expressions, changed or searched."""

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
