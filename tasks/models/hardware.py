"""GPUs whose peaks are known, and what `--gpus 8xH200` means.

Peaks are NVIDIA's data sheets for dense bf16 (half of what they print with sparsity) of the SXM variants; memory is
what torch reports as the device's total, a few per cent below the name's.
"""

import re
from typing import NamedTuple

from tasks.errors import LimoError


class Gpu(NamedTuple):
    """What one GPU can do."""

    name: str
    flops: float
    """Peak bf16 FLOP/s, dense."""
    bandwidth: float
    """Of its memory, bytes/s."""
    gib: float
    fp8: bool
    """Whether it multiplies in fp8."""


KINDS = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100", 312e12, 2.039e12, 79.1, False),
        Gpu("H100", 989e12, 3.35e12, 79.1, True),
        Gpu("H200", 989e12, 4.8e12, 139.8, True),
        Gpu("B200", 2250e12, 8.0e12, 178.3, True),
        Gpu("L40S", 362e12, 0.864e12, 44.5, True),
    )
}
"""A100 and H100 are those of 80 GB."""
NODE = 8
"""GPUs of one machine: beyond them a model is not split, as its parts talk in every layer."""


def gpu_kind(name: str) -> Gpu | None:
    """The GPU that a driver calls `name`, such as `NVIDIA H100 80GB HBM3`; None where it is not known, or is of another
    build, whose peak is lower."""
    words = name.replace("-", " ").upper().split()
    if {"PCIE", "NVL"} & set(words):
        return None
    return next((gpu for kind, gpu in KINDS.items() if kind in words), None)


class Machine(NamedTuple):
    """So many GPUs of one kind."""

    gpu: Gpu
    number: int

    def __str__(self) -> str:
        """As `--gpus` takes it."""
        return f"{self.number}x{self.gpu.name}"


def read_machine(text: str) -> Machine:
    """The machine that `text` names, such as `8xH200`.

    Raises:
        LimoError: it is not of that form, or of no known kind.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([A-Za-z]\w*)", text.strip())
    if not found:
        raise LimoError(f"--gpus {text}: give a number, an x and a kind, such as 8xH200; kinds: {', '.join(KINDS)}")
    kind = found[2].upper()
    if kind not in KINDS:
        raise LimoError(f"--gpus {text}: no kind `{found[2]}`; there are {', '.join(KINDS)}")
    return Machine(KINDS[kind], int(found[1]))
