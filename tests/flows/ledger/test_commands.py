"""`limo ledger`: what it prints, its exit code, and one line for each mistake."""

import json
import shutil

import pytest

from tasks.engines.params import SamplingParams
from tasks.engines.protocol import make_request
from tasks.ledger.ledger import Ledger
from tests import command
from tests.builders import make_model, write_models
from tests.ledger.responses import found, respond, segments, write


@pytest.fixture
def artifacts(tmp_path):
    folder = tmp_path / "artifacts"
    write_models(folder / "base" / "models.json", make_model("weak", model_id="m_a"))
    write_models(folder / "train" / "model.json", make_model("trained", model_id="m_t"))
    write(folder / "ledger", [respond(0, "So it is 七."), respond(1, reason="length")], flush_responses=1)
    return folder


def limo(artifacts, *arguments):
    return command.limo("ledger", *arguments, "--ledger", artifacts / "ledger")


def test_shows_each_model_with_its_name_and_one_response_in_full(artifacts):
    output = limo(artifacts, "--artifacts", artifacts).stdout
    for part in ("weak", "m_a", "1 length", "vllm 0.32.0 cpu bfloat16: 2", "1 model, 2 responses, 4 tokens"):
        assert part in output
    shown = limo(artifacts, "show", respond(0).response_id[:12]).stdout
    seed = make_request("m_a", "3 + 4?", SamplingParams(**json.loads(respond(0).sampling)), 0).own_seed
    assert f"(of this sample alone: {seed})" in shown
    assert shown.endswith("--- prompt\n3 + 4?\n--- text\nSo it is 七.\n")


def test_verify_fails_with_exit_code_1_and_compact_merges(artifacts):
    sound = limo(artifacts, "verify")
    assert (sound.returncode, sound.stdout) == (0, "m_a: 2 responses sound, 0 files set aside\n")
    torn = segments(artifacts / "ledger")[0]
    torn.write_bytes(torn.read_bytes()[:-9])
    failed = limo(artifacts, "verify")
    assert (failed.returncode, failed.stdout) == (1, "m_a: 1 responses sound, 1 files set aside\n")
    write(artifacts / "ledger", [respond(0)])
    assert limo(artifacts, "compact").stdout == "m_a: 2 -> 1 segments, 0 repeated responses dropped\n"


def test_prune_lists_first_and_removes_with_yes(artifacts):
    write(artifacts / "ledger", [respond(2, engine="old 0.1")])
    asked = ["prune", "--model", "weak", "--engine", "old", "--artifacts", artifacts]
    output = limo(artifacts, *asked).stdout
    assert "m_a (weak): 1 responses, 2 tokens" in output
    assert "Nothing has been removed" in output
    assert found(artifacts / "ledger", 3) == [0, 1, 2]
    assert "removed" in limo(artifacts, *asked, "--yes").stdout
    assert found(artifacts / "ledger", 3) == [0, 1]
    assert limo(artifacts, "prune", "--unused", "--yes", "--artifacts", artifacts).stdout == ""


def test_options_before_the_subcommand_hold_for_it_and_its_own_win(artifacts, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(artifacts / "ledger", copy)
    asked = ["--artifacts", artifacts, "prune", "--model", "weak", "--yes"]
    done = command.limo("ledger", "--ledger", copy, *asked)
    assert "m_a (weak): 2 responses" in done.stdout
    assert (found(copy, 2), found(artifacts / "ledger", 2)) == ([], [0, 1])
    assert "m_a (weak): 2 responses" in limo(artifacts, "--ledger", "no/such/folder", *asked).stdout


def test_while_the_model_is_trained_again_none_counts_as_unused(artifacts):
    (artifacts / "train" / "model.json").unlink()
    shutil.copytree(artifacts / "ledger" / "m_a", artifacts / "ledger" / "m_t")
    done = limo(artifacts, "prune", "--unused", "--yes", "--artifacts", artifacts)
    assert (done.returncode, done.stdout) == (2, "")
    assert "train/model.json, which lists the models in use" in done.stderr


def test_what_was_pruned_is_reported_where_another_model_cannot_be(artifacts):
    for name in ("m_0", "m_z"):
        shutil.copytree(artifacts / "ledger" / "m_a", artifacts / "ledger" / name)
    with Ledger(artifacts / "ledger", "m_a") as running:
        running.add([respond(2)])
        done = limo(artifacts, "prune", "--engine", "vllm", "--yes", "--artifacts", artifacts)
    assert done.returncode == 2
    assert done.stdout.count("2 responses, 4 tokens") == 2
    assert "m_a: a run is writing to it" in done.stderr
    assert [path.name for path in (artifacts / "ledger").iterdir()] == ["m_a"]


def test_an_arms_verdicts_that_cannot_be_read_are_named_in_one_line(artifacts):
    path = artifacts.parent / "ablations" / "artifacts" / "arms" / "random" / "verdicts.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 half")
    done = limo(artifacts, "--artifacts", artifacts)
    assert done.returncode == 2
    assert f"{path}: not a readable Parquet file" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prune"], "say what to remove"),
        (["prune", "--model", "none"], "no model `none`"),
        (["prune", "--unused", "--artifacts", "no/such/folder"], "base/models.json, which lists the models in use"),
        (["prune", "--torn", "--before", "2026-01-01", "--yes"], "leave --engine and --before out"),
        (["prune", "--torn", "--engine", "vllm", "--yes"], "leave --engine and --before out"),
        (["show", "r_x"], "no `r_x`"),
        (["verify", "--ledger", "no/such/folder"], "no ledger there"),
    ],
)
def test_mistakes_are_one_line(artifacts, arguments, said):
    where = [] if "--ledger" in arguments else ["--ledger", artifacts / "ledger"]
    done = command.limo("ledger", *arguments, *where)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
