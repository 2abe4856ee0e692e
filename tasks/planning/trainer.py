"""What a plan must know of tasks.training's own ways: how long a pass is, and what its loss takes.

All of it is here, so that a change of the trainer changes this module and no formula.
"""

from tasks.planning.shapes import Shape
from tasks.training.recipe import Recipe

LOGIT_COPIES = 3
"""Of the fp32 logits of a pass, at once: log-probabilities, their gradient, and the gradient of the logits."""


def pass_tokens(recipe: Recipe) -> int:
    """Tokens of the longest forward pass there can be: `micro_batch` samples, padded to the longest."""
    return recipe.micro_batch * recipe.max_length


def sequence_tokens(recipe: Recipe, tokens: float) -> float:
    """Tokens that see each other, of a pass of so many."""
    return tokens / recipe.micro_batch


def loss_bytes(shape: Shape, tokens: float) -> float:
    """What the loss of a pass takes: it is computed from all logits at once, in fp32."""
    return LOGIT_COPIES * 4 * shape.vocabulary * tokens


def keeps_scores(recipe: Recipe) -> bool:
    """Whether the attention's scores are held for the backward pass; SDPA and FlashAttention compute them again."""
    return recipe.attention == "eager"


def smaller_passes(recipe: Recipe) -> list[tuple[str, Recipe]]:
    """Changes that make a pass shorter, the least first, each in words."""
    found = []
    if recipe.micro_batch > 1:
        found.append(("micro_batch 1", recipe.model_copy(update={"micro_batch": 1})))
    return found
