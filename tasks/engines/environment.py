"""Environment variables that must be set before torch and vLLM are imported; what the user has set stays."""

import os

VARIABLES = {
    # The engine runs in the process that loads vLLM: it starts in a third of the time, and small models are faster.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Threads that wait must not spin: beside other work on the same cores that costs a factor of ten and more.
    "OMP_WAIT_POLICY": "passive",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


def set_environment() -> None:
    """Set what is not set yet. OpenMP reads its variables once, when torch is first imported."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
