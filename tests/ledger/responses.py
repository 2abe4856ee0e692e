"""Responses for the ledger's tests, and other processes that write them."""

import subprocess
import sys

from tasks.engines.params import SamplingParams
from tasks.engines.protocol import make_request
from tasks.ledger.ledger import Ledger

SAMPLING = SamplingParams(temperature=1.0)
ENGINE = "vllm 0.32.0 cpu bfloat16"


def respond(index, text="seven", prompt="3 + 4?", reason="stop", model="m_a", engine=ENGINE):
    return make_request(model, prompt, SAMPLING, index).finish(text, reason, 4, 2, 0.5, -1.25, engine)


def write(folder, responses, **settings):
    with Ledger(folder, "m_a", **settings) as ledger:
        for response in responses:
            ledger.add([response])


def segments(folder):
    return sorted((folder / "m_a").glob("*.parquet"))


def found(folder, count):
    """The indices below `count` whose responses are there."""
    ids = {respond(index).response_id: index for index in range(count)}
    return sorted(ids[key] for key in Ledger(folder, "m_a").lookup(ids))


def python(code, *arguments):
    """A process of its own that runs `code`, its output to be read line by line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
