"""The GGUF package is found without being imported."""

import sys

import pytest

from tasks.core.errors import LimoError
from tasks.models.resolve import convert_package, find_gguf
from tasks.records.model import digest_file


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


def test_a_converted_folder_is_used_again(package, tmp_path):
    digest = digest_file(package / "Made-1M.Q4_1.gguf")[:12]
    there = tmp_path / "models" / f"Made-1M-{digest}"
    there.mkdir(parents=True)
    assert convert_package("made-gguf", tmp_path / "models") == there
