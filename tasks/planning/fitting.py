"""Whether training fits, and the changes after which it would."""

from typing import NamedTuple

from tasks.models.hardware import KINDS, NODE, Machine
from tasks.models.shapes import Shape
from tasks.planning.trainer import pass_tokens, smaller_passes
from tasks.planning.training import SETTLED_GIB, TrainMemory, train_memory
from tasks.training.recipe import Recipe

GIB = 2**30
MOST_RANKS = 1024


class Way(NamedTuple):
    """A change, and what a rank would then take at its peak."""

    change: str
    gib: float

    def __str__(self) -> str:
        """In words."""
        return f"{self.change} ({self.gib:.1f} GiB)"


def on_gpu(shape: Shape, recipe: Recipe) -> TrainMemory:
    """Memory of a rank on a GPU, with the longest pass there can be."""
    settled = SETTLED_GIB * GIB
    return train_memory(shape, recipe, ranks=recipe.processes, tokens=pass_tokens(recipe), settled=settled)


def peak_gib(shape: Shape, recipe: Recipe) -> float:
    """The most that a rank takes on a GPU."""
    return on_gpu(shape, recipe).peak / GIB


def misfits(shape: Shape, recipe: Recipe, machine: Machine) -> list[str]:
    """Why training cannot run so, one line each; empty when it can."""
    found = []
    if recipe.processes > machine.number:
        found.append(f"processes {recipe.processes} takes {recipe.processes} GPUs, {machine.number} are there")
    need = peak_gib(shape, recipe)
    if need > machine.gpu.gib:
        found.append(f"a rank takes {need:.1f} GiB, {machine.gpu.name} has {machine.gpu.gib}")
    return found


def ways_to_fit(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    """Single changes with which it fits, the cheapest first; where none does, settings changed one after another."""
    here = recipe.model_copy(update={"processes": min(recipe.processes, machine.number)})
    fewer = "" if here.processes == recipe.processes else f"processes {here.processes} and "
    found = [Way(said, peak_gib(shape, changed)) for said, changed in _settings(shape, here, machine)]
    if fewer:
        found = [Way(f"processes {here.processes}", peak_gib(shape, here)), *_after(fewer, found)]
    found = [way for way in found if way.gib <= machine.gpu.gib]
    found = found or _after(fewer, _together(shape, here, machine))
    shorter = _after(fewer, _length(shape, here, machine)) if peak_gib(shape, here) > machine.gpu.gib else []
    return found + _ranks(shape, recipe, machine) + shorter + _kinds(shape, recipe, machine)


def _after(first: str, ways: list[Way]) -> list[Way]:
    return [Way(first + way.change, way.gib) for way in ways]


def _settings(shape: Shape, recipe: Recipe, machine: Machine) -> list[tuple[str, Recipe]]:
    """Single changes of the recipe that save memory on this machine."""
    found = []
    if machine.number > recipe.processes:
        found.append((f"processes {machine.number}", recipe.model_copy(update={"processes": machine.number})))
    found += smaller_passes(recipe)
    for name, now, better in (
        ("precision", recipe.precision, "bf16"),
        ("activation_checkpointing", recipe.activation_checkpointing, True),
    ):
        if now != better:
            found.append((f"{name} {str(better).lower()}", recipe.model_copy(update={name: better})))
    if not recipe.cpu_offload:
        other = recipe.model_copy(update={"cpu_offload": True})
        found.append((f"cpu_offload true, with {on_gpu(shape, other).host / GIB:.0f} GiB of main memory", other))
    return found


def _together(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    said: list[str] = []
    while changes := _settings(shape, recipe, machine):
        words, recipe = changes[0]
        said.append(words)
        if (need := peak_gib(shape, recipe)) <= machine.gpu.gib:
            return [Way(" and ".join(said), need)]
    return []


def _ranks(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    """The fewest GPUs of this kind on which the recipe fits as it is."""
    count = max(machine.number, recipe.processes) + 1
    while count <= MOST_RANKS:
        # Past one machine, whole ones.
        count = count if count <= NODE else -(-count // NODE) * NODE
        need = peak_gib(shape, recipe.model_copy(update={"processes": count}))
        if need <= machine.gpu.gib:
            nodes = f" and nodes {-(-count // NODE)}" if count > NODE else ""
            return [Way(f"processes {count}{nodes}: {count}x{machine.gpu.name}", need)]
        count += 1
    return []


def _length(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    """The longest samples, in steps of 1,024 tokens, with which the recipe fits; longer ones are rejected."""
    for length in range((recipe.max_length - 1) // 1024 * 1024, 0, -1024):
        need = peak_gib(shape, recipe.model_copy(update={"max_length": length}))
        if need <= machine.gpu.gib:
            return [Way(f"max_length {length}, which rejects longer samples", need)]
    return []


def _kinds(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    """As many GPUs of the smallest other kind that is large enough."""
    need = peak_gib(shape, recipe)
    if recipe.processes > machine.number:
        return []
    enough = [gpu for gpu in KINDS.values() if need <= gpu.gib and gpu != machine.gpu]
    if not enough:
        return []
    return [Way(f"{recipe.processes}x{min(enough, key=lambda gpu: gpu.gib).name}", need)]
