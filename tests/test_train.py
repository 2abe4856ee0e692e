"""Real training: one, two and four ranks, killed and resumed, by other numbers of ranks too; and the stage's tables."""

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import psutil
import pytest
import yaml
from safetensors.torch import load_file

from tasks.core.errors import LimoError
from tasks.core.files import read_json, read_table
from tasks.core.params import ChatParams
from tasks.engines.fleet import VllmEngine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.records.model import describe, load_models, read_header
from tasks.tracking.live import EXPERIMENT
from tasks.tracking.store import mlflow_client
from tasks.train import TrainParams, decide, run
from tasks.training.checkpoint import HASHES, checkpoints, step_of
from tasks.training.data import batch_rows
from tasks.training.launch import LOG
from tasks.training.log import SAMPLE_LOSS, STEP
from tasks.training.recipe import OUTCOME
from tests.builders import forget, manifest_file, manifest_of, write_models
from tests.training.tiny import make_folder, make_model, make_samples
from tests.waiting import LIMIT_SECONDS, wait_until

pytestmark = pytest.mark.slow(minutes=4)

PARAMS = {
    "epochs": 6,
    "global_batch": 8,
    "pack_tokens": 400,
    "lr": 3e-3,
    "max_length": 200,
    "precision": "fp32",
    "device": "cpu",
    "export_dtype": "float32",
    "keep_checkpoints": 4,
    "live": False,
}
TOO_LONG = "more than two hundred tokens " * 10
STAGE = f"""
from tasks.core.stage import stage_main
from tasks.tracking import live
from tasks.train import run

live.LAST_SECONDS = {LIMIT_SECONDS}
stage_main(run)
"""


class Project:
    """A folder with a base model and 20 samples, the last of them too long."""

    def __init__(self, root: Path):
        self.root = root
        self.base = describe(make_folder(root / "base"), "base", "path:base")
        self.models = write_models(root / "models.json", self.base)
        self.samples = root / "kept.parquet"
        make_samples(20, chain_id="c_long", text=TOO_LONG, rank=99).write_parquet(self.samples)

    def paths(self, name):
        return {
            "samples": self.samples,
            "models": self.models,
            "work": self.root / f"{name}-work",
            "out": self.root / name,
        }

    def run(self, name, **params):
        run(TrainParams(**(PARAMS | params)), ChatParams(system="Think."), **self.paths(name))
        return self.root / name

    def start(self, name, **params):
        """The same as a process that has just been started, which waits for MLflow as long as it takes."""
        file = self.root / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"train": PARAMS | params, "chat": {"system": "Think."}}))
        options = [word for option, path in self.paths(name).items() for word in (f"--{option}", str(path))]
        command = [sys.executable, "-c", STAGE, "--params", str(file), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def resume(self, name, steps, **params):
        """A run that finds only those of the checkpoints of the run `two` that have as many steps as `steps` names."""
        shutil.copytree(self.root / "two-work", self.root / f"{name}-work")
        for checkpoint in self.checkpoints(name):
            if step_of(checkpoint) not in steps:
                shutil.rmtree(checkpoint)
        return self.run(name, **params)

    def checkpoints(self, name):
        return checkpoints(self.work(name))

    def work(self, name):
        (work,) = (self.root / f"{name}-work").iterdir()
        return work

    def outcome(self, name):
        return read_json(self.work(name) / OUTCOME)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def trained(project):
    return project.run("two")


def test_decide_keeps_the_length_as_evidence():
    decided = decide(make_samples(2), {"c_1": 70}, max_length=60)
    assert decided.select("chain_id", "reason", "evidence").rows() == [
        ("c_0", None, None),
        ("c_1", "too_long", "70 tokens, train.max_length is 60"),
    ]


def test_no_samples_is_one_line(project, tmp_path):
    make_samples(1).clear().write_parquet(tmp_path / "none.parquet")
    with pytest.raises(LimoError, match=r"none\.parquet: no samples to train on"):
        paths = project.paths("none") | {"samples": tmp_path / "none.parquet"}
        run(TrainParams(**PARAMS), ChatParams(), **paths)


def test_counts_add_up_and_the_long_sample_is_named(trained):
    manifest = manifest_of(trained)
    assert (manifest["taken"], manifest["kept"], manifest["rejected"]) == (20, 19, {"too_long": 1})
    facts = manifest["facts"]
    assert (facts["steps"], facts["epochs"], facts["world_size"], facts["fsdp"]) == (18, 6, 2, 2)
    assert facts["checkpoint"].pop("text") == "epoch 6 of 6, step 18 of 18: the last"
    assert facts["checkpoint"] == {"step": 18, "of_steps": 18, "epoch": 6, "of_epochs": 6, "rule": "last"}
    rejected = pl.read_parquet(trained / "rejected.parquet")
    assert rejected["chain_id"].to_list() == ["c_long"]
    assert rejected["evidence"][0].endswith("tokens, train.max_length is 200")


def test_the_loss_falls_and_every_step_is_there(trained):
    steps = read_table(trained / "steps.parquet", STEP)
    assert steps["step"].to_list() == list(range(1, 19))
    assert steps["loss"][-1] < 0.7 * steps["loss"][0]
    assert (trained / "steps.csv").read_text().splitlines()[0] == ",".join(STEP)


def test_which_sample_was_in_which_step(trained):
    rows = read_table(trained / "samples.parquet", SAMPLE_LOSS)
    order = [batch_rows(19, 42, 8, step) for step in range(18)]
    # Sample k is the k-th best: `c_long` had rank 99, so it is not among them.
    expected = {(step + 1, f"c_{row + 1}") for step, batch in enumerate(order) for row in batch}
    assert set(rows.select("step", "chain_id").iter_rows()) == expected
    assert set(rows["rank"]) == {0, 1}
    by_step = rows.group_by("step").agg(
        (pl.col("loss") * pl.col("loss_tokens")).sum() / pl.col("loss_tokens").sum(), pl.col("loss_tokens").sum()
    )
    steps = read_table(trained / "steps.parquet", STEP).select("step", "loss", "loss_tokens")
    both = steps.join(by_step, on="step")
    assert both["loss_tokens"].equals(both["loss_tokens_right"])
    assert both["loss"].to_list() == pytest.approx(both["loss_right"].to_list(), rel=1e-4)


def test_the_export_loads_with_its_tokenizer(project, trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (model,) = load_models(trained / "model.json").values()
    assert (model.name, model.path, model.origin) == ("trained", str(trained / "model"), "trained")
    assert (model.architecture, model.parameters) == ("Qwen2ForCausalLM", project.base.parameters)
    assert model.model_id != project.base.model_id
    loaded = AutoModelForCausalLM.from_pretrained(model.path)
    assert (type(loaded).__name__, loaded.dtype.itemsize) == ("Qwen2ForCausalLM", 4)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert (loaded.generation_config.eos_token_id, loaded.generation_config.pad_token_id) == (2, 2)
    stored = [read_header(folder / "model.safetensors") for folder in (project.root / "base", trained / "model")]
    assert stored[0] == stored[1], "the same tensors, the tied one once"
    assert AutoTokenizer.from_pretrained(model.path).chat_template


def test_the_export_has_the_logits_of_the_checkpoint(project, trained, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    exported = AutoModelForCausalLM.from_pretrained(trained / "model")
    assert {step_of(checkpoint) for checkpoint in project.checkpoints("two")} == {9, 12, 15, 18}
    saved = saved_state(project.checkpoints("two")[0], tmp_path)
    prompt = torch.arange(3, 60)[None]
    assert torch.equal(exported(prompt).logits, saved(prompt).logits)
    assert not torch.equal(exported(prompt).logits, make_model()(prompt).logits)


def test_vllm_and_transformers_give_the_same_responses(trained, tmp_path):
    folder = trained / "model"
    render = prompt_renderer(folder, ChatParams(system="Think."))
    # Begun as it was trained on, so that some soon end.
    prompts = [render(question) + text[:40] for question, text in make_samples(6)["question", "text"].rows()]
    said = greedy_texts(folder, prompts)
    assert {tokens < 24 for _, tokens, _ in said} == {True, False}
    engine = VllmEngine(folder, EngineParams(dtype="float32", max_num_seqs=8, max_model_len=256), tmp_path / "vllm.log")
    try:
        engine.submit(
            [make_request("m", prompt, SamplingParams(temperature=0, max_tokens=24), 0) for prompt in prompts]
        )
        found = []
        while len(found) < len(prompts):
            found += engine.finished(1.0)
    finally:
        engine.close()
    found.sort(key=lambda response: prompts.index(response.prompt))
    assert [(response.text, response.n_tokens) for response in found] == [(text, tokens) for text, tokens, _ in said]
    assert [response.logprob_sum for response in found] == pytest.approx([sums for *_, sums in said], abs=1e-3)


def shown(artifacts):
    """Of the one run in the experiment of live curves: its status, and the steps that have a loss."""
    with mlflow_client(artifacts) as client:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        (run,) = client.search_runs([experiment.experiment_id])
        return run.info.status, [point.step for point in client.get_metric_history(run.info.run_id, "loss")]


def test_compiled_layers_give_the_same_losses_and_are_compiled_once(project, trained, monkeypatch):
    """Whatever the number of samples in a pack: a layer is two programs, and two more to recompute it."""
    monkeypatch.setenv("TORCH_LOGS", "recompiles,graph_code")
    compiled = project.run("compiled", compile=True, activation_checkpointing=True, processes=1, select_epoch=1)
    columns = ["loss", "grad_norm"]
    found, expected = (pl.read_parquet(run / "steps.parquet")[columns].head(3) for run in (compiled, trained))
    assert found.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-4)
    log = (project.work("compiled") / LOG).read_text()
    assert "TRACED GRAPH" in log
    assert log.count("Recompiling") <= 2


def test_killed_and_resumed_gives_the_same_weights(project, trained, capfd, monkeypatch):
    """First one of the ranks is killed, then all as they save; MLflow shows each step once."""
    monkeypatch.setattr("tasks.tracking.live.LAST_SECONDS", LIMIT_SECONDS)
    paths = project.paths("killed")
    stage = project.start("killed", live=True)
    work = wait_until(lambda: next((f for f in paths["work"].glob("*") if checkpoints(f)), None))
    ranks_of(stage)[-1].kill()
    _, error = stage.communicate(timeout=LIMIT_SECONDS)
    assert stage.returncode == 2
    assert "limo: train: a rank was killed (SIGKILL; out of memory?); rerun to resume from the last checkpoint" in error
    status, steps = shown(project.root)
    assert status == "FAILED"
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 3, "the first epoch's"

    stage, partial = stopped_as_it_saves(project, "killed")
    everyone = psutil.Process(stage.pid).children(recursive=True)
    # All at once, so that no rank sees another's end and saves.
    for process in (*everyone, psutil.Process(stage.pid)):
        process.kill()
    stage.communicate()
    assert len(everyone) == 3, "a launcher and two ranks"
    _, alive = psutil.wait_procs(everyone, timeout=LIMIT_SECONDS)
    assert alive == []
    assert not manifest_file(paths["out"]).exists()
    assert list(partial.iterdir())
    assert not (partial / HASHES).exists(), "or it would be complete"
    damaged, intact, *_ = checkpoints(work)
    flip_a_byte(damaged)

    project.run("killed", live=True)
    assert not partial.exists()
    assert shown(project.root) == ("FINISHED", list(range(1, 19)))
    assert "damaged checkpoint, skipped" in capfd.readouterr().out
    assert project.outcome("killed")["resumed_at"] == step_of(intact)
    assert weights(paths["out"]) == weights(trained)
    same = ["step", "epoch", "loss", "lr", "grad_norm", "tokens"]
    tables = [read_table(folder / "steps.parquet", STEP).select(same) for folder in (trained, paths["out"])]
    assert tables[0].equals(tables[1])
    assert pl.read_parquet(trained / "samples.parquet").equals(pl.read_parquet(paths["out"] / "samples.parquet"))
    assert (paths["out"] / "model/README.md").read_text() == (trained / "model/README.md").read_text()


def test_a_finished_job_that_is_run_again_gives_the_same_bytes(project, trained):
    """Whatever the second process took: no step is taken, so none of its own numbers is in what DVC tracks."""
    again = project.resume("again", {9, 12, 15, 18})
    assert project.outcome("again")["resumed_at"] == 18
    assert project.outcome("again")["process_seconds"] != project.outcome("two")["process_seconds"]
    assert manifest_file(again).read_bytes() == manifest_file(trained).read_bytes()
    for name in ("steps.parquet", "steps.csv", "samples.parquet", "rejected.parquet", "model/README.md"):
        assert (again / name).read_bytes() == (trained / name).read_bytes(), name
    assert weights(again) == weights(trained)
    facts = manifest_of(again)["facts"]
    assert facts["seconds"] == pytest.approx(pl.read_parquet(again / "steps.parquet")["seconds"].sum(), abs=0.01)
    other = project.resume("again-by-one", {9, 12, 15, 18}, processes=1)
    assert manifest_file(other).read_bytes() == manifest_file(trained).read_bytes(), (
        "world_size is of those who trained"
    )


def test_stopped_before_there_are_ranks_it_ends(project):
    stage = project.start("early")
    launcher = "tasks.training.accelerate_launch"
    wait_until(lambda: any(launcher in child.cmdline() for child in psutil.Process(stage.pid).children()))
    # The launcher is a program of its own by now; it takes seconds until there are ranks.
    wait_until(lambda: handles(stage.pid, signal.SIGTERM))
    stage.terminate()
    _, error = stage.communicate(timeout=LIMIT_SECONDS)
    assert stage.returncode == 2
    assert "limo: train: stopped by a signal before the first step; rerun to resume" in error


def test_stopped_it_saves_the_step_and_is_resumed_there(project, trained):
    stage = project.start("stopped", checkpoint_every=6)
    # The first epoch is over: its line is printed, and no checkpoint saved.
    assert stage.stdout.readline().startswith("train: epoch 1/6")
    stage.terminate()
    _, error = stage.communicate(timeout=LIMIT_SECONDS)
    assert stage.returncode == 2
    stopped = re.search(r"limo: train: stopped by a signal after step (\d+) of 18, saved; rerun to resume", error)
    assert stopped, error
    assert [step_of(checkpoint) for checkpoint in project.checkpoints("stopped")] == [int(stopped[1])]

    out = project.run("stopped", checkpoint_every=6)
    assert project.outcome("stopped")["resumed_at"] == int(stopped[1])
    assert weights(out) == weights(trained)


@pytest.mark.parametrize(("ranks", "pack_tokens"), [(1, 120), (4, 400)])
def test_ranks_and_passes_do_not_change_the_curve(project, trained, ranks, pack_tokens):
    """Two ranks take a batch of 600 tokens in one pass each; one of 120 tokens a pass takes five or more."""
    other = project.run(f"ranks-{ranks}", processes=ranks, pack_tokens=pack_tokens)
    assert manifest_of(other)["facts"]["world_size"] == ranks
    assert_same_course(trained, other)


def test_other_numbers_of_ranks_resume_from_a_checkpoint(project, trained, capfd):
    other = project.resume("fewer", {9}, processes=1, pack_tokens=120, activation_checkpointing=True)
    assert "was saved by 2 ranks, 1 resume from it" in capfd.readouterr().out
    assert_same_course(trained, other)
    more = project.resume("more", {9}, processes=3)
    assert "was saved by 2 ranks, 3 resume from it" in capfd.readouterr().out
    assert_same_course(trained, more)
    for name, ranks in (("fewer", 1), ("more", 3)):
        assert project.outcome(name)["resumed_at"] == 9
        assert manifest_of(project.root / name)["facts"]["world_size"] == ranks


def test_the_chosen_epoch_is_exported_and_recorded(project, trained, tmp_path):
    out = project.resume("chosen", {12, 15, 18}, select_epoch=4)
    facts = manifest_of(out)["facts"]
    assert (facts["steps"], facts["checkpoint"]["epoch"]) == (12, 4)
    assert project.outcome("chosen")["resumed_at"] == 12
    assert facts["checkpoint"]["rule"] == "train.select_epoch"
    card = (out / "model/README.md").read_text()
    assert "epoch 4 of 6, step 12 of 18: chosen by train.select_epoch; never chosen on a benchmark" in card
    saved = saved_state(project.checkpoints("two")[2], tmp_path).state_dict()
    exported = load_file(out / "model/model.safetensors")
    assert all(tensor.equal(saved[name]) for name, tensor in exported.items())


def test_a_loss_that_is_no_number_is_one_line(project):
    with pytest.raises(LimoError, match=r"^train: the loss is .* at step \d of .*; lower train.lr"):
        project.run("nan", processes=1, lr=1e30)
    assert not manifest_file(project.root / "nan").exists()


def assert_same_course(one, other):
    """The same numbers at each step, and the same weights, but for the rounding of sums in another order."""
    steps = [read_table(folder / "steps.parquet", STEP) for folder in (one, other)]
    assert steps[0].select("step", "epoch", "lr", "tokens").equals(steps[1].select("step", "epoch", "lr", "tokens"))
    for column in ("loss", "grad_norm"):
        assert steps[0][column].to_list() == pytest.approx(steps[1][column].to_list(), rel=1e-5)
    stored = [load_file(folder / "model/model.safetensors") for folder in (one, other)]
    assert stored[0].keys() == stored[1].keys()
    for name, tensor in stored[0].items():
        assert (tensor - stored[1][name]).abs().max() < 1e-5, name


def saved_state(checkpoint, scratch):
    """The model with the weights of a checkpoint, put together by Accelerate's own tool."""
    from accelerate.utils import merge_fsdp_weights

    merge_fsdp_weights(str(checkpoint / "pytorch_model_fsdp_0"), str(scratch))
    model = make_model()
    missing, unexpected = model.load_state_dict(load_file(scratch / "model.safetensors"), strict=False)
    assert set(missing) | set(unexpected) <= {"lm_head.weight"}, "the tied one"
    return model.eval()


def greedy_texts(folder, prompts):
    """By transformers: the response of at most 24 tokens to each prompt, its tokens, and their log-probability."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    options = {"return_dict_in_generate": True, "output_scores": True}
    found = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])
        done = model.generate(ids, max_new_tokens=24, do_sample=False, **options)
        tokens = done.sequences[0, ids.shape[1] :]
        logs = model.compute_transition_scores(done.sequences, done.scores, normalize_logits=True)
        found.append((tokenizer.decode(tokens, skip_special_tokens=True), len(tokens), float(logs.sum())))
    return found


def ranks_of(stage):
    """The ranks, as soon as there are some."""
    launcher = wait_until(lambda: psutil.Process(stage.pid).children())[0]
    ranks = wait_until(lambda: (found := launcher.children()) and len(found) == 2 and found)
    assert [rank.cmdline() for rank in ranks] == [launcher.cmdline()] * 2, "forked, without a GPU"
    return ranks


def handles(pid, number):
    """Whether a process has a handler of its own for a signal."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def stopped_as_it_saves(project, name):
    """Stop all ranks in a save that follows two complete checkpoints; the stage, and the folder they save to."""
    for _ in range(20):
        stage = project.start(name, live=True)
        if partial := caught_saving(stage, project.work(name)):
            return stage, partial
        _, error = stage.communicate(timeout=LIMIT_SECONDS)
        assert stage.returncode == 0, error
        # On a busy machine every save can go by unseen: again, from the oldest checkpoint.
        forget(project.root, name)
        for checkpoint in project.checkpoints(name)[:-1]:
            shutil.rmtree(checkpoint)
    raise AssertionError("no save was caught")


def caught_saving(stage, work):
    """The folder of the save that all ranks were stopped in; None where the stage ended before."""
    ranks = ranks_of(stage)
    while stage.poll() is None:
        # A save takes 60 ms and more, and there are four of them.
        time.sleep(0.001)
        partial = next(work.glob(".step-*"), None)
        if partial is None or not partial.is_dir() or len(checkpoints(work)) < 2:
            continue
        with suppress(psutil.NoSuchProcess):
            for rank in ranks:
                rank.suspend()
            if partial.is_dir() and list(partial.iterdir()) and not (partial / HASHES).exists():
                return partial
            for rank in ranks:
                rank.resume()
    return None


def flip_a_byte(checkpoint):
    shard = max(checkpoint.rglob("*.distcp"), key=lambda path: path.stat().st_size)
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()
