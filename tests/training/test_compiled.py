"""What a compiled run gives is in tests/test_train.py, beside the runs that it is compared with."""

import pytest

from tasks.core.errors import LimoError
from tasks.training.model import compile_layers
from tests.training.tiny import make_model


def test_without_a_compiler_one_line_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(LimoError, match="train.compile needs the C\\+\\+ compiler no-such-compiler"):
        compile_layers(make_model())
