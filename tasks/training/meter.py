"""What a step takes of the machine: memory, and model FLOPs utilisation (PaLM, arXiv:2204.02311, appendix B)."""

from collections.abc import Sequence
from pathlib import Path

from tasks.errors import LimoError
from tasks.files import read_json
from tasks.models.hardware import gpu_kind
from tasks.models.shapes import Shape, read_shape, train_flops

MIB = 2**20


class Meter:
    """Measures the steps of one rank's device."""

    def __init__(self, model: Path, device: str, ranks: int) -> None:
        """Take a model's folder, and `cpu` or `cuda`."""
        import psutil

        self._cuda = device == "cuda"
        self._process = psutil.Process()
        self.device = _device_name() if self._cuda else device
        kind = gpu_kind(self.device)
        self._peak = kind.flops * ranks if kind else None
        self._shape = _shape(model)

    def memory(self) -> float:
        """MiB: on a GPU the most that tensors took since the last call, on a CPU what the process has now."""
        if not self._cuda:
            return float(self._process.memory_info().rss / MIB)
        import torch

        most = torch.cuda.max_memory_allocated() / MIB
        torch.cuda.reset_peak_memory_stats()
        return float(most)

    def mfu(self, lengths: Sequence[int], seconds: float) -> float | None:
        """Of the dense bf16 peak of all GPUs, the share that training on samples of these lengths in so many seconds
        makes use of; recomputing does not count. None where the peak is not known, as of a CPU, or the model's kind."""
        if self._peak is None or self._shape is None:
            return None
        work = sum(length * train_flops(self._shape, length) for length in lengths)
        return work / seconds / self._peak


def _device_name() -> str:
    import torch

    return str(torch.cuda.get_device_name())


def _shape(model: Path) -> Shape | None:
    try:
        return read_shape(read_json(model / "config.json"), str(model))
    except LimoError:
        # Of a kind that limo plan does not know: it can be trained all the same.
        return None
