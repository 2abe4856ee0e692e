"""No regular expression of the grader is of exponential time: answers reach them in the process that must not hang."""

import importlib
import pkgutil
import re
import signal

import pytest

import tasks.grading

ATOMS = [
    *("a", "A", "1", " ", "x ", "a 1", "a_1", "1,", ", ", "or ", "is ", "m ", "km", "是", "百", "i\\in "),
    *("\\", "{", "}", "(1,2)", "[", "^", "=", "-", ".", "|", "\\text{a}", "\\frac", "\\circ", "\\,", "\\pm"),
]
REPEATS = 24
"""Where one character matches in two ways, matching takes 2 to this power steps, or more."""
SECONDS = 20


def patterns():
    found = {}
    for module in pkgutil.iter_modules(tasks.grading.__path__):
        if module.name != "worker":  # imports what only its own process does
            for name, value in vars(importlib.import_module(f"tasks.grading.{module.name}")).items():
                if isinstance(value, re.Pattern):
                    found.setdefault((value.pattern, value.flags), f"{module.name}.{name}")
    return {name: re.compile(*key) for key, name in found.items()}


def hang(*_):
    raise TimeoutError


def takes_long(pattern):
    """The repeated text on which matching does not end, or None."""
    for one in ATOMS:
        for other in ATOMS:
            text = (one + other) * REPEATS + "\0"
            try:
                signal.alarm(SECONDS)
                pattern.fullmatch(text)
                pattern.search(text)
            except TimeoutError:
                return one + other
            finally:
                signal.alarm(0)
    return None


@pytest.fixture
def alarm():
    before = signal.signal(signal.SIGALRM, hang)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
def test_no_pattern_hangs(alarm):
    assert {name: on for name, pattern in patterns().items() if (on := takes_long(pattern))} == {}


def test_a_pattern_that_does_would_be_found(alarm, monkeypatch):
    monkeypatch.setattr("tests.grading.test_patterns.SECONDS", 1)
    assert takes_long(re.compile(r"[a-z](?: ?[-+]? ?[a-z])+"))
