"""Tests in parallel: the files that take longest start first, so that no process is left alone with one at the end."""

import os

# Ray gives its workers the last turn at the cores, so that beside other tests its own would wait for minutes.
os.environ.setdefault("RAY_worker_niceness", "0")


def pytest_ignore_collect(collection_path, config):
    """Without slow tests, a file of nothing else is not even imported: that may take seconds."""
    if config.option.markexpr == "not slow" and collection_path.suffix == ".py":
        return "\npytestmark = pytest.mark.slow" in collection_path.read_text(encoding="utf-8") or None
    return None


def pytest_collection_modifyitems(items):
    minutes = {}
    for item in items:
        marked = [mark.kwargs.get("minutes", 0) for mark in item.iter_markers("slow")]
        minutes[item.path] = max(minutes.get(item.path, -1), *marked, -1)
    items.sort(key=lambda item: -minutes[item.path])
