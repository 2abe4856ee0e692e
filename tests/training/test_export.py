"""What goes into the folder of a trained model beside its weights; tests/test_train.py exports from real ranks."""

import hashlib
from types import SimpleNamespace

import pytest
import yaml

from tasks.core.files import read_json, write_json
from tasks.records.model import describe
from tasks.training.data import CheckpointChoice
from tasks.training.export import export, model_card
from tasks.training.recipe import Job, Recipe, job_key, samples_digest
from tests.training.tiny import make_folder, make_samples

CHOICE = CheckpointChoice(234, 390, 9, 15, "train.select_epoch")


@pytest.fixture
def job(tmp_path):
    base = describe(make_folder(tmp_path / "base"), "base", "hub:Qwen/Qwen2.5-32B-Instruct@5ede1c97bbab6ce5")
    samples = make_samples(3)
    samples.write_parquet(tmp_path / "kept.parquet")
    recipe = Recipe(select_epoch=9)
    work = tmp_path / job_key(recipe, samples, base.model_id, "Think.")
    return Job(
        recipe=recipe,
        model=base,
        system="Think.",
        samples=tmp_path / "kept.parquet",
        work=work,
        out=tmp_path,
    )


def exported(job):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(job.model.path)
    accelerator = SimpleNamespace(get_state_dict=lambda model: model.state_dict(), is_main_process=True)
    export(accelerator, model, job, CHOICE, 3)
    return job.out / "model"


def front(text):
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_card_names_what_the_model_was_made_from(job):
    head, body = front(model_card(job, CHOICE, 2, "abc-dirty"))
    assert head["base_model"] == "Qwen/Qwen2.5-32B-Instruct"
    assert head["library_name"] == "transformers"
    assert "sft" in head["tags"]
    md5 = hashlib.md5(job.samples.read_bytes()).hexdigest()
    for line in (
        f"`base`, from {job.model.origin}, id `{job.model.model_id}`",
        "2 trained on, and 1 longer than `max_length` left out",
        f"`sha256:{samples_digest(make_samples(3))}`",
        f"`md5:{md5}`",
        "epoch 9 of 15, step 234 of 390: chosen by train.select_epoch; never chosen on a benchmark",
        f"`{job.work.name}`",
        "`abc-dirty`",
        '"system message": "Think."',
        '"lr": 5e-06',
    ):
        assert line in body


def test_a_card_outside_git_says_so_and_a_local_base_has_its_name(job):
    local = job.model_copy(update={"model": job.model.model_copy(update={"origin": "path:models/it"})})
    head, body = front(model_card(local, CHOICE, 3, None))
    assert head["base_model"] == "base"
    assert "Git commit: none: no git repository, or nothing committed in it" in body
    assert "3 trained on\n" in body


def test_the_card_does_not_change_what_the_model_is(job):
    folder = exported(job)
    before = describe(folder, "trained", "trained").model_id
    (folder / "README.md").write_text("another commit")
    assert describe(folder, "trained", "trained").model_id == before


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, {"eos_token_id": [2, 7], "pad_token_id": 2}),
        ({"eos_token_id": 7}, {"eos_token_id": [2, 7], "pad_token_id": 2}),
        ({"top_k": 9}, {"top_k": 9, "eos_token_id": [2, 7], "pad_token_id": 2}),
        ({"eos_token_id": [7, 2], "pad_token_id": 7}, {"eos_token_id": [7, 2], "pad_token_id": 7}),
        # Transformers loads this, and refuses to save it.
        (
            {"eos_token_id": 2, "pad_token_id": 0, "do_sample": False, "temperature": 0.6},
            {"eos_token_id": 2, "pad_token_id": 0, "do_sample": False, "temperature": 0.6},
        ),
    ],
)
def test_generation_ends_at_the_end_token_that_was_trained_on(job, given, wanted):
    """The base says that it ends with token 7, as one does that was never tuned to the template."""
    base = job.out / "base"
    write_json(base / "config.json", read_json(base / "config.json") | {"eos_token_id": 7})
    (base / "generation_config.json").unlink()
    if given is not None:
        write_json(base / "generation_config.json", given)
    folder = exported(job)
    assert read_json(folder / "generation_config.json") == wanted
    if given == wanted:
        names = [path / "generation_config.json" for path in (base, folder)]
        assert names[0].read_bytes() == names[1].read_bytes()
