"""The command line every stage has, tried on a stage of the test's own, in a process of its own."""

import subprocess
import sys

STAGE = '''
"""A stage that copies a word."""
from pathlib import Path
from tasks.core.errors import LimoError
from tasks.core.params import Params
from tasks.core.stage import stage_main

class CopyParams(Params):
    word: str

def run(copy: CopyParams, *, in_file: Path, out: Path) -> None:
    if not in_file.exists():
        raise LimoError(f"{in_file}: no such file")
    out.write_text(copy.word + in_file.read_text())

if __name__ == "__main__":
    stage_main(run)
'''


def start(tmp_path, params):
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "params.yaml").write_text(params)
    command = [sys.executable, tmp_path / "stage.py", "--params", tmp_path / "params.yaml"]
    command += ["--in-file", tmp_path / "in.txt", "--out", tmp_path / "out.txt"]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": "."})


def test_params_and_paths_reach_the_stage(tmp_path):
    (tmp_path / "in.txt").write_text("b")
    assert start(tmp_path, "copy: {word: a}").returncode == 0
    assert (tmp_path / "out.txt").read_text() == "ab"


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path):
    done = start(tmp_path, "copy: {word: a}")
    assert (done.returncode, done.stderr) == (2, f"limo: {tmp_path}/in.txt: no such file\n")


def test_bad_params_are_listed_and_exit_code_2(tmp_path):
    done = start(tmp_path, "copy: {wrd: a}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[1].endswith("copy.wrd: unknown key")
    assert "Traceback" not in done.stderr
