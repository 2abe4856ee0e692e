"""One rank of a small training run that counts its own memory, for `benchmarks.plan_check`.

`accelerate launch --module benchmarks.plan_rank JOB`: trains as tasks.training.worker does. What torch allocates in the
second step is counted by torch's own profiler, byte by byte; the steps after it are left alone, so that they can be
timed. Writes memory-RANK.json into the job's work folder.
"""

import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from tasks.core.files import write_json
from tasks.core.stage import die_with_parent
from tasks.training.recipe import Job

COUNTED = 2
"""The step whose memory is counted: the optimizer has its states from the first on."""


def main() -> None:
    die_with_parent()
    import tasks.core.startup  # noqa: F401

    job = Job.model_validate_json(Path(sys.argv[1]).read_bytes())
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from tasks.training import loop

    usage: dict[str, Any] = {"before_gib": current_gib()}
    watch = Watch(usage)
    register_optimizer_step_post_hook(watch.after_step)
    loop.train(job)
    usage["rss_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 - usage["before_gib"]
    write_json(job.work / f"memory-{os.environ.get('RANK', '0')}.json", usage)


class Watch:
    """Counts from the end of the first step to the end of the second."""

    def __init__(self, usage: dict[str, Any]) -> None:
        self.usage, self.steps = usage, 0
        self.profile: Any = None

    def after_step(self, optimizer: Any, *_: Any) -> None:
        from torch.profiler import ProfilerActivity, profile

        self.steps += 1
        if self.steps == COUNTED - 1:
            # Gradients of this step are freed later, and that is not counted against the next.
            self.usage["resident_bytes"] = resident(optimizer)
            self.profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self.profile.start()
        elif self.steps == COUNTED:
            self.profile.stop()
            self.usage["peak_bytes"] = peak(self.profile)


def resident(optimizer: Any) -> int:
    """Bytes of this rank's shards of weights and optimizer states."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    states = [value for weight in weights for value in optimizer.state[weight].values() if hasattr(value, "numel")]
    return sum(size(tensor) for tensor in weights + states)


def size(tensor: Any) -> int:
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return int(local.numel() * local.element_size())


def peak(profile: Any) -> int:
    """The most bytes that stood allocated at once, of what was allocated while the profiler ran."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profile.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    return max(event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]")


def current_gib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**30


if __name__ == "__main__":
    main()
