"""Responses a second through the whole path (engine, sampler, ledger), against bare `LLM.generate`, in turns.

`python -m benchmarks.engine_overhead --prompts 2000 --rounds 3`: both have the model loaded for the whole time, get the
same prompts with the same seeds, and one rests while the other works. Prints each round, then the medians as JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks.core.params import ChatParams
from tasks.engines.fleet import VllmEngine
from tasks.engines.machine import set_environment
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.families import problems
from tasks.records.model import Model
from tasks.sampling.sampler import Sampler
from tasks.sampling.schedule import Group

MODEL = Path("tasks/shipped/strong")


def questions(count: int) -> list[str]:
    """As many different questions of a shipped family as the pool's are."""
    drawn = problems("buttons", count, seed=5, levels=range(2, 11), split="pool")
    return [problem.question for problem in drawn]


def bare(params: EngineParams) -> None:
    """The other side, a program of its own: one line in, a file with requests; one line out, seconds and tokens."""
    set_environment()
    from vllm import LLM
    from vllm import SamplingParams as Sampling

    options = {"enforce_eager": True, "enable_chunked_prefill": False, "enable_prefix_caching": True}
    llm = LLM(
        str(MODEL),
        dtype=params.dtype,
        max_model_len=params.max_model_len,
        max_num_seqs=params.max_num_seqs,
        kv_cache_memory_bytes=int((params.kv_cache_gib or 1) * 2**30),
        generation_config="vllm",
        seed=0,
        **options,
    )
    print("ready", flush=True)
    for line in sys.stdin:
        requests = json.loads(Path(line.strip()).read_text())
        began = time.monotonic()
        sampling = [Sampling(temperature=1.0, max_tokens=one["max_tokens"], seed=one["seed"]) for one in requests]
        done = llm.generate([one["prompt"] for one in requests], sampling, use_tqdm=False)
        seconds = time.monotonic() - began
        tokens = sum(len(one.outputs[0].token_ids) for one in done)
        print(f"result {json.dumps({'seconds': seconds, 'tokens': tokens})}", flush=True)


class Bare:
    """The bare program as a child."""

    def __init__(self, params: EngineParams) -> None:
        command = [sys.executable, "-m", "benchmarks.engine_overhead", "--bare", params.model_dump_json()]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        self._line("ready")

    def _line(self, start: str) -> str:
        for line in self._process.stdout:
            if line.startswith(start):
                return line.removeprefix(start).strip()
        raise SystemExit("the bare program ended")

    def round(self, requests: Path) -> dict[str, float]:
        self._process.stdin.write(f"{requests}\n")
        self._process.stdin.flush()
        return json.loads(self._line("result"))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


class Lent:
    """An engine that outlives the sampler."""

    def __init__(self, engine: VllmEngine) -> None:
        self.submit, self.finished, self.cancel = engine.submit, engine.finished, engine.cancel
        self.facts = engine.facts

    def close(self) -> None:
        pass


def ours(engine: VllmEngine, groups: list[Group], params: EngineParams, folder: Path) -> dict[str, Any]:
    began = time.monotonic()
    model = Model(name="bench", model_id="m_bench", path=str(MODEL), origin="", architecture="", parameters=0)
    sampler = Sampler(model, params, ChatParams(), folder / "ledger", stage="bench", start=lambda: Lent(engine))
    return {"tokens": sampler.draw(groups).run["tokens_generated"], "seconds": time.monotonic() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare")
    options = parser.parse_args()
    if options.bare:
        bare(EngineParams.model_validate_json(options.bare))
        return
    params = EngineParams(max_model_len=1024, max_num_seqs=256, kv_cache_gib=1)
    render = prompt_renderer(MODEL, ChatParams())
    prompts = [render(text) for text in questions(options.prompts)]
    with tempfile.TemporaryDirectory() as scratch:
        compare(params, prompts, options.rounds, Path(scratch))


def compare(params: EngineParams, prompts: list[str], rounds: int, scratch: Path) -> None:
    other = Bare(params)
    engines = {
        "ours": VllmEngine(MODEL, params, scratch / "a.log"),
        "ours_without_logprobs": VllmEngine(MODEL, params.model_copy(update={"logprobs": False}), scratch / "b.log"),
    }
    rates: dict[str, list[float]] = {"bare": [], **{name: [] for name in engines}}
    for number in range(rounds):
        sampling = SamplingParams(temperature=1.0, max_tokens=320, seed=number)
        requests = [make_request("m_bench", prompt, sampling, 0) for prompt in prompts]
        sent = [{"prompt": one.prompt, "seed": one.own_seed, "max_tokens": 320} for one in requests]
        (scratch / "requests.json").write_text(json.dumps(sent))
        groups = [Group(f"q_{n}", prompt, "", "auto", 1, sampling) for n, prompt in enumerate(prompts)]
        runs = {"bare": other.round(scratch / "requests.json")}
        runs |= {name: ours(one, groups, params, scratch / f"{name}{number}") for name, one in engines.items()}
        for name, run in runs.items():
            rates[name].append(len(prompts) / run["seconds"])
        print(json.dumps({name: [round(run["seconds"], 2), run["tokens"]] for name, run in runs.items()}), flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    starts = {key: value for key, value in engines["ours"].facts.items() if "seconds" in key}
    shares = {f"{name}_of_bare": round(medians[name] / medians["bare"], 3) for name in engines}
    print(json.dumps({"responses_per_second": medians, **shares, **starts}))
    for engine in engines.values():
        engine.close()
    other.close()


if __name__ == "__main__":
    main()
