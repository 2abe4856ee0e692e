"""The version of the grader, which every verdict names."""

import hashlib
from importlib.metadata import version
from pathlib import Path

BESIDE = ("columns", "golds", "judge", "lines", "majority", "scores", "statistics", "table")
"""Modules here that decide no verdict: they prepare, keep, count or write."""
LIBRARIES = ("latex2sympy2_extended", "math-verify", "sympy")


def _version() -> str:
    """With a digest of the code that decides and of what it stands on: an edited rule is another grader."""
    modules = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem not in BESIDE)
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in modules))
    digest.update(" ".join(f"{name} {version(name)}" for name in LIBRARIES).encode())
    return f"limo-grader 0.2+{digest.hexdigest()[:8]} (math-verify {version('math-verify')})"


GRADER = _version()
