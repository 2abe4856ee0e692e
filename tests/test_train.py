"""Real training: one, two and four ranks, killed and gone on, by others too; and what the stage makes of it."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
import yaml
from safetensors.torch import load_file

from tasks.core.errors import LimoError
from tasks.core.files import read_table
from tasks.core.params import ChatParams
from tasks.engines.fleet import VllmEngine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.records.model import describe, load_models, read_header
from tasks.tracking.live import EXPERIMENT
from tasks.tracking.store import connected
from tasks.train import TrainParams, decide, run
from tasks.training.checkpoint import HASHES, checkpoints, step_of
from tasks.training.data import batch_rows
from tasks.training.log import SAMPLE_LOSS, STEP
from tests.builders import manifest_file, manifest_of, write_models
from tests.training.tiny import make_folder, make_model, make_samples

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
        """The same as a process that has just been started."""
        file = self.root / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"train": PARAMS | params, "chat": {"system": "Think."}}))
        options = [word for option, path in self.paths(name).items() for word in (f"--{option}", str(path))]
        command = [sys.executable, "-m", "tasks.train", "--params", str(file), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def go_on(self, name, steps, **params):
        """A run that finds only those of the checkpoints of the run `two` that have as many steps as `steps` names."""
        shutil.copytree(self.root / "two-work", self.root / f"{name}-work")
        for checkpoint in self.checkpoints(name):
            if step_of(checkpoint) not in steps:
                shutil.rmtree(checkpoint)
        return self.run(name, **params)

    def checkpoints(self, name):
        (work,) = (self.root / f"{name}-work").iterdir()
        return checkpoints(work)


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
    assert facts["checkpoint"].pop("told") == "epoch 6 of 6, step 18 of 18: the last"
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


def test_the_export_says_what_the_checkpoint_says(project, trained, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    exported = AutoModelForCausalLM.from_pretrained(trained / "model")
    assert {step_of(checkpoint) for checkpoint in project.checkpoints("two")} == {9, 12, 15, 18}
    saved = saved_state(project.checkpoints("two")[0], tmp_path)
    asked = torch.arange(3, 60)[None]
    assert torch.equal(exported(asked).logits, saved(asked).logits)
    assert not torch.equal(exported(asked).logits, make_model()(asked).logits)


def test_vllm_and_transformers_say_the_same(trained, tmp_path):
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
    with connected(artifacts) as client:
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
    told = next((project.root / "compiled-work").glob("*/worker.log")).read_text()
    assert "TRACED GRAPH" in told
    assert told.count("Recompiling") <= 2


def test_killed_and_gone_on_gives_the_same_weights(project, trained, capfd):
    """First one of the ranks is killed, then all as they save; MLflow shows each step once."""
    paths = project.paths("killed")
    stage = project.start("killed", live=True)
    work = wait_for(lambda: next((f for f in paths["work"].glob("*") if checkpoints(f)), None))
    ranks_of(stage)[-1].kill()
    _, error = stage.communicate(timeout=120)
    assert stage.returncode == 2
    assert "limo: train: a rank was killed (SIGKILL; out of memory?); rerun to go on from the last checkpoint" in error
    status, steps = shown(project.root)
    assert status == "FAILED"
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 3, "the first epoch's"

    stage = project.start("killed", live=True)
    torn = stopped_as_it_saves(stage, work)
    everyone = psutil.Process(stage.pid).children(recursive=True)
    # All at once, so that no rank is told of another's end and saves.
    for process in (*everyone, psutil.Process(stage.pid)):
        process.kill()
    stage.communicate()
    assert len(everyone) == 3, "a launcher and two ranks"
    _, alive = psutil.wait_procs(everyone, timeout=20)
    assert alive == []
    assert not manifest_file(paths["out"]).exists()
    assert list(torn.iterdir())
    assert not (torn / HASHES).exists(), "or it would be whole"
    damaged, whole, *_ = checkpoints(work)
    flip_a_byte(damaged)

    project.run("killed", live=True)
    assert not torn.exists()
    assert shown(project.root) == ("FINISHED", list(range(1, 19)))
    assert "damaged checkpoint, passed over" in capfd.readouterr().out
    assert manifest_of(paths["out"])["facts"]["resumed_at"] == step_of(whole)
    assert weights(paths["out"]) == weights(trained)
    same = ["step", "epoch", "loss", "lr", "grad_norm", "tokens"]
    tables = [read_table(folder / "steps.parquet", STEP).select(same) for folder in (trained, paths["out"])]
    assert tables[0].equals(tables[1])
    assert pl.read_parquet(trained / "samples.parquet").equals(pl.read_parquet(paths["out"] / "samples.parquet"))
    assert (paths["out"] / "model/README.md").read_text() == (trained / "model/README.md").read_text()


def test_told_to_end_before_there_are_ranks_it_ends(project):
    stage = project.start("early")
    launcher = "tasks.training.launcher"
    wait_for(lambda: any(launcher in child.cmdline() for child in psutil.Process(stage.pid).children()))
    # It is a program of its own by now, and the stage listens; it takes seconds until there are ranks.
    time.sleep(0.3)
    stage.terminate()
    _, error = stage.communicate(timeout=60)
    assert stage.returncode == 2
    assert "limo: train: told to end before the first step; rerun to go on" in error


def test_told_to_end_it_saves_the_step_and_goes_on_from_there(project, trained):
    stage = project.start("told", checkpoint_every=6)
    # The first epoch is over: the line of it is there, and no checkpoint.
    assert stage.stdout.readline().startswith("train: epoch 1/6")
    stage.terminate()
    _, error = stage.communicate(timeout=120)
    assert stage.returncode == 2
    told = re.search(r"limo: train: told to end after step (\d+) of 18, which is saved; rerun to go on", error)
    assert told, error
    assert [step_of(checkpoint) for checkpoint in project.checkpoints("told")] == [int(told[1])]

    out = project.run("told", checkpoint_every=6)
    assert manifest_of(out)["facts"]["resumed_at"] == int(told[1])
    assert weights(out) == weights(trained)


@pytest.mark.parametrize(("ranks", "pack_tokens"), [(1, 120), (4, 400)])
def test_ranks_and_passes_do_not_change_the_curve(project, trained, ranks, pack_tokens):
    """Two ranks take a batch of 600 tokens in one pass each; one of 120 tokens a pass takes five or more."""
    other = project.run(f"ranks-{ranks}", processes=ranks, pack_tokens=pack_tokens)
    assert manifest_of(other)["facts"]["world_size"] == ranks
    assert_same_course(trained, other)


def test_other_ranks_go_on_from_a_checkpoint(project, trained, capfd):
    other = project.go_on("fewer", {9}, processes=1, pack_tokens=120, activation_checkpointing=True)
    assert "was saved by 2 ranks, 1 go on from it" in capfd.readouterr().out
    assert_same_course(trained, other)
    more = project.go_on("more", {9}, processes=3)
    assert "was saved by 2 ranks, 3 go on from it" in capfd.readouterr().out
    assert_same_course(trained, more)
    for folder in (other, more):
        assert manifest_of(folder)["facts"]["resumed_at"] == 9


def test_the_chosen_epoch_is_exported_and_told(project, trained, tmp_path):
    out = project.go_on("chosen", {12, 15, 18}, select_epoch=4)
    facts = manifest_of(out)["facts"]
    assert (facts["resumed_at"], facts["steps"], facts["checkpoint"]["epoch"]) == (12, 12, 4)
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
    told = {"return_dict_in_generate": True, "output_scores": True}
    found = []
    for prompt in prompts:
        asked = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])
        done = model.generate(asked, max_new_tokens=24, do_sample=False, **told)
        tokens = done.sequences[0, asked.shape[1] :]
        logs = model.compute_transition_scores(done.sequences, done.scores, normalize_logits=True)
        found.append((tokenizer.decode(tokens, skip_special_tokens=True), len(tokens), float(logs.sum())))
    return found


def wait_for(found, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.01)
    raise TimeoutError


def ranks_of(stage):
    """The ranks, as soon as there are some."""
    launcher = wait_for(lambda: psutil.Process(stage.pid).children())[0]
    ranks = wait_for(lambda: (found := launcher.children()) and len(found) == 2 and found)
    assert [rank.cmdline() for rank in ranks] == [launcher.cmdline()] * 2, "forked, without a GPU"
    return ranks


def stopped_as_it_saves(stage, work):
    """Stop all ranks in the middle of a save that follows two whole checkpoints; the folder that they write."""
    ranks = ranks_of(stage)
    while stage.poll() is None:
        # A save takes 60 ms and more, and there are four of them.
        time.sleep(0.001)
        torn = next(work.glob(".step-*"), None)
        if torn is None or not torn.is_dir() or len(checkpoints(work)) < 2:
            continue
        for rank in ranks:
            rank.suspend()
        if torn.is_dir() and list(torn.iterdir()) and not (torn / HASHES).exists():
            return torn
        for rank in ranks:
            rank.resume()
    raise AssertionError(f"no save was caught: {stage.communicate()}")


def flip_a_byte(checkpoint):
    shard = max(checkpoint.rglob("*.distcp"), key=lambda path: path.stat().st_size)
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()
