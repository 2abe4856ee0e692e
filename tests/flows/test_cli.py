"""The console command: a user's mistake is one line and exit code 2."""

import shutil
import subprocess
import sys

import polars as pl
import pytest

from tests.artifacts import write_run
from tests.command import limo


@pytest.mark.slow
def test_as_a_process_of_its_own_an_error_is_one_line():
    command = [sys.executable, "-c", "from flows.cli import main; main()", "check", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("limo: profiles/nothing.yaml: no such profile")
    assert done.stderr.count("\n") == 1


def test_a_valid_profile_that_this_machine_can_run():
    done = limo("check", "default")
    assert done.returncode == 0
    assert "valid" in done.stdout


def test_a_profile_for_another_machine_lists_what_is_missing():
    done = limo("check", "limo-v2")
    assert done.returncode == 2
    assert "profiles/limo-v2.yaml: valid" in done.stdout
    assert "flash_attn" in done.stderr


@pytest.fixture
def artifacts(tmp_path):
    return write_run(tmp_path / "artifacts")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["why"], "give the ids of questions, or --text with words of one"),
        (["why", "q_1", "--text", "x"], "give the ids of questions, or --text with words of one"),
        (["why", "q_1", "--artifacts", "no/such/folder"], "no/such/folder/pull: nothing there yet"),
        (["sources", "--artifacts", "no/such/folder"], "no/such/folder: no filter has run yet"),
        (["check", "nothing"], "profiles/nothing.yaml: no such profile"),
        (["use", "nothing"], "profiles/nothing.yaml: no such profile"),
        (["trace", "s_1", "--artifacts", "no/such/folder"], "no/such/folder"),
    ],
)
def test_errors_are_one_line(arguments, message):
    done = limo(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_flow_reports_a_bad_params_file_before_prefect_starts(tmp_path):
    (tmp_path / "params.yaml").write_text("band: {samples: many}")
    shutil.copy("dvc.yaml", tmp_path)
    flow = f"import os; from flows.pipeline import main; os.chdir({str(tmp_path)!r}); main()"
    done = subprocess.run([sys.executable, "-c", flow], capture_output=True, text=True)
    assert done.returncode == 2
    assert "band.samples" in done.stderr
    assert "Traceback" not in done.stderr


def test_why_explains_ids_and_finds_words(artifacts):
    question = pl.read_parquet(artifacts / "decontaminate" / "rejected.parquet")["question_id"][0]
    explained = limo("why", question[:12], "--artifacts", artifacts)
    assert explained.returncode == 0
    assert f"question  {question}" in explained.stdout
    assert "rule ngram drops it" in explained.stdout
    found = limo("why", "--text", "3 + 0", "--artifacts", artifacts)
    assert question in found.stdout


def test_sources_adds_up_or_ends_with_one_and_names_what_does_not(artifacts):
    good = limo("sources", "--artifacts", artifacts)
    assert good.returncode == 0
    assert "Adds up: kept + rejected = taken at 5 filters for each of 2 sources" in good.stdout
    assert "-1 exact_duplicate" in good.stdout
    path = artifacts / "screen" / "kept.parquet"
    pl.read_parquet(path).tail(-1).write_parquet(path)
    bad = limo("sources", "--artifacts", artifacts)
    assert bad.returncode == 1
    assert "-1 exact_duplicate" in bad.stdout
    assert "Adds up" not in bad.stdout
    assert "limo: band, source made: took 23, but screen kept 22" in bad.stderr
