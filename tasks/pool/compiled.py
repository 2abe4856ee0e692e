"""Loops compiled by numba: how, and how their arguments are written down.

Compiled once and kept beside the source, so that a worker starts in a fraction of a second. numba finds the types by
itself; what stands in the signatures says arrays from numbers, no more.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
Array = np.ndarray[Any, np.dtype[Any]]
Number = Any
"""A number, or a few of them."""

jit = cast(Callable[[F], F], numba.njit(cache=True, nogil=True, boundscheck=False))
"""Without the interpreter's lock, so that threads run beside each other."""
