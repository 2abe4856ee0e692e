"""What a plan must know of tasks.training's own ways: how long a pass is, and what its loss takes.

All of it is here, so that a change of the trainer changes this module and no formula.
"""

from tasks.models.shapes import Shape
from tasks.training.recipe import Recipe

LOGITS_AT_ONCE = 2**26
"""`tasks.training.head.LOGITS`, which is not imported since it needs torch; a test compares."""
LOGIT_BYTES = 8
"""Of a logit held: its log-probability in fp32, which becomes its gradient, and what it is made of."""


def pass_tokens(recipe: Recipe) -> int:
    """Tokens of the longest forward pass there can be: a full pack, or one longer sample."""
    return max(recipe.pack_tokens or 0, recipe.max_length)


def loss_bytes(shape: Shape, tokens: float, width: int) -> float:
    """What the loss of a pass takes: some logits at a time, and the gradient of the last layer in fp32 and once more.

    Args:
        width: bytes of a number in the forward pass.
    """
    at_once = min(tokens, max(1, LOGITS_AT_ONCE // shape.vocabulary))
    return LOGIT_BYTES * shape.vocabulary * at_once + (4 + width) * shape.vocabulary * shape.hidden


def smaller_passes(recipe: Recipe) -> list[tuple[str, Recipe]]:
    """Changes that make a pass shorter, the least first, each in words."""
    if (recipe.pack_tokens or 0) <= recipe.max_length:
        return []
    return [("pack_tokens null", recipe.model_copy(update={"pack_tokens": None}))]
