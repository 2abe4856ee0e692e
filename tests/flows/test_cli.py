"""The console command: a user's mistake is one line and exit code 2."""

import subprocess
import sys

import pytest

CLI = [sys.executable, "-c", "from flows.cli import main; main()"]


def limo(*arguments):
    return subprocess.run([*CLI, *map(str, arguments)], capture_output=True, text=True)


def test_a_valid_profile_that_this_machine_can_run():
    done = limo("check", "default")
    assert done.returncode == 0
    assert "valid" in done.stdout


def test_a_profile_for_another_machine_says_what_it_lacks():
    done = limo("check", "limo-v2")
    assert done.returncode == 2
    assert "profiles/limo-v2.yaml: valid" in done.stdout
    assert "flash_attn" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "nothing"], "profiles/nothing.yaml: no such profile"),
        (["use", "nothing"], "profiles/nothing.yaml: no such profile"),
        (["trace", "s_1", "--artifacts", "no/such/folder"], "no/such/folder"),
    ],
)
def test_mistakes_are_one_line(arguments, said):
    done = limo(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_flow_tells_a_bad_params_file_before_prefect_starts(tmp_path):
    (tmp_path / "params.yaml").write_text("band: {samples: many}")
    flow = f"import os; from flows.pipeline import main; os.chdir({str(tmp_path)!r}); main()"
    done = subprocess.run([sys.executable, "-c", flow], capture_output=True, text=True)
    assert done.returncode == 2
    assert "band.samples" in done.stderr
    assert "Traceback" not in done.stderr
