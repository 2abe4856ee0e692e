"""Log-probabilities in vLLM at the price of a sum, which is all that is kept of them.

vLLM's own way takes a fifth of a small model's speed: each token's rank, for which it first compiles a kernel, three
array slices a token, and a list with each token decoded once more. What is replaced is private to vLLM; where a runner
goes another way, its own objects are summed.
"""

from typing import Any, NamedTuple

import torch
from vllm.v1.engine.logprobs import LogprobsProcessor
from vllm.v1.outputs import LogprobsTensors
from vllm.v1.sample.sampler import Sampler


class Chosen(NamedTuple):
    """The log-probability of each chosen token of a step, in the order of the batch."""

    values: list[float]
    starts: list[int] | None
    """Where each request's begin, when some have more than one."""

    def slice_request(self, request: int, count: int) -> "float | Chosen":
        """Those of one request."""
        start = self.starts[request] if self.starts else request
        return self.values[start] if count == 1 else Chosen(self.values[start : start + count], None)


class ChosenTensors(LogprobsTensors):  # type: ignore[misc]
    """As vLLM hands them on, without ids and ranks."""

    def tolists(self, starts: list[int] | None = None) -> Chosen:
        """On the CPU, as plain numbers."""
        return Chosen(self.logprobs.squeeze(-1).tolist(), starts or self.cu_num_generated_tokens)


def only_sum_logprobs() -> None:
    """Have vLLM, in this process, sum the log-probabilities of chosen tokens."""
    ranked = Sampler.gather_logprobs

    def gather(logprobs: Any, num_logprobs: int, token_ids: Any) -> Any:
        if num_logprobs:
            return ranked(logprobs, num_logprobs, token_ids)
        chosen = token_ids.unsqueeze(-1)
        return ChosenTensors(chosen, logprobs.gather(-1, chosen), torch.empty(0))

    def add(self: Any, found: Any) -> None:
        if isinstance(found, Chosen):
            found = sum(found.values)
        self.cumulative_logprob += found if isinstance(found, float) else float(found.logprobs[:, 0].sum())

    Sampler.gather_logprobs = staticmethod(gather)
    LogprobsProcessor._update_sample_logprobs = add
