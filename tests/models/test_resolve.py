"""A model is named in exactly one form; an error says what is missing."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from tasks.core.errors import LimoError
from tasks.models.resolve import ModelSource, convert_package, find_gguf, resolve
from tasks.records.model import digest_file

COMMIT = "a" * 40


@pytest.mark.parametrize("given", [{}, {"shipped": "base", "path": "x"}])
def test_exactly_one_form(given):
    with pytest.raises(ValidationError, match="exactly one of shipped, path, hub, gguf_package"):
        ModelSource.model_validate(given)


@pytest.mark.parametrize("revision", ["main", "v1", COMMIT[:-1]])
def test_a_hub_revision_is_a_commit(revision):
    with pytest.raises(ValidationError, match="revision"):
        ModelSource.model_validate({"hub": {"repo": "a/b", "revision": revision}})


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ({"path": "/no/such"}, "/no/such: no such folder, named by base.models.m"),
        ({"shipped": "nothing"}, "base.models.m.shipped: no `nothing`"),
        ({"gguf_package": "no-such-package"}, "`no-such-package`.* not installed; `make real`"),
    ],
)
def test_what_cannot_be_found_is_one_line(tmp_path, source, line):
    with pytest.raises(LimoError, match=line):
        resolve("m", ModelSource.model_validate(source), tmp_path)


def test_an_unreachable_hub_says_how_else(tmp_path):
    # In a process of its own: the hub library reads HF_HUB_OFFLINE when it is imported.
    code = (
        "from pathlib import Path; from tasks.models.resolve import *\n"
        f"resolve('m', ModelSource(hub=HubModel(repo='a/b', revision='{COMMIT}')), Path('.'))"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "base.models.m: a/b@aaaaaaaaaaaa is not in the hub cache" in done.stderr.splitlines()[-1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "site" / "made_gguf"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('needs a heavy library')")
    (folder / "Made-1M.Q4_1.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    return folder


def test_found_by_its_file(package):
    assert find_gguf("made-gguf") == package / "Made-1M.Q4_1.gguf"


def test_two_files_are_refused(package):
    (package / "Other.gguf").write_bytes(b"GGUF")
    with pytest.raises(LimoError, match="holds 2 GGUF files"):
        find_gguf("made-gguf")


def test_a_converted_folder_is_reused(package, tmp_path):
    digest = digest_file(package / "Made-1M.Q4_1.gguf")[:12]
    there = tmp_path / "models" / f"Made-1M-{digest}"
    there.mkdir(parents=True)
    assert convert_package("made-gguf", tmp_path / "models") == there
