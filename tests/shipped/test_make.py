"""Rebuilding: a complete folder is kept, a changed recipe is made again, a base without knowledge is refused."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tasks.core.errors import LimoError
from tasks.families import problems
from tasks.shipped import corpus, gate, make, pretrain, tokenizer

pytestmark = pytest.mark.slow(minutes=1)

TINY = pretrain.Recipe("base", steps=2, batch=2)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(make, "measure", lambda *_: {"nothing": 0})
    monkeypatch.setattr(corpus, "HELD_OUT_SEEDS", range(1))
    # Compiling takes a minute, and is tried by `make models`.
    monkeypatch.setattr(pretrain.shutil, "which", lambda _: None)
    monkeypatch.setitem(make.PLANS, "base", make.Plan(TINY))
    monkeypatch.setitem(make.PLANS, "strong", make.Plan(TINY._replace(corpus="strong"), parent="base"))
    return tmp_path


def folders(out: Path) -> make.Folders:
    return make.Folders(out, out / "work")


def test_a_made_model_is_not_made_again_until_its_recipe_changes(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make.make("base", folders(out))
    assert make.make("base", folders(out))["tokens"] == first["tokens"]
    assert "already made" in capsys.readouterr().out
    monkeypatch.setitem(make.PLANS, "base", make.Plan(TINY._replace(seed=2)))
    assert make.make("base", folders(out))["recipe"]["seed"] == 2
    assert (out / "base" / "training.json").exists()


def test_what_is_needed_is_what_is_not_made_and_what_leads_to_it(tmp_path: Path) -> None:
    assert make.needed(folders(tmp_path)) == list(make.PLANS)
    shipped = make.Folders(Path("tasks/shipped"), tmp_path)
    assert make.needed(shipped) == []


def test_a_model_is_trained_from_another_and_is_written_in_bfloat16(out: Path) -> None:
    make.make("base", folders(out))
    record = make.make("strong", folders(out))
    assert record["goes_on_from"] == "base"
    assert record["questions"]["shared"] == 0
    weights = load_file(out / "strong" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}


def test_sizes_differ_and_heads_do_not() -> None:
    words = tokenizer.build()
    models = [pretrain.new_model(words, 1, make.PLANS[name].hidden) for name in ("small", "medium", "base")]
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    assert sizes == sorted(sizes)
    assert {model.config.hidden_size // model.config.num_attention_heads for model in models} == {32}


def test_a_shared_question_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "HELD_OUT_SEEDS", range(1))
    assert corpus.overlap("base_letters", 1, 300).shared == 0
    monkeypatch.setattr(corpus, "stream", lambda *_: problems("days", 300, 0, corpus.LEVELS[1:], "eval"))
    with pytest.raises(LimoError, match="held-out questions"):
        corpus.overlap("base", 1, 300)


def test_training_is_deterministic() -> None:
    words = tokenizer.build()
    losses = []
    for _ in range(2):
        model = pretrain.new_model(words, 1)
        data = pretrain.batches(corpus.base(1), words, 2, 1)
        losses.append(pretrain.train(model, data, TINY, log=lambda _: None).losses)
    assert losses[0] == losses[1]


def test_a_killed_run_resumes_and_ends_at_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "CHECKPOINT_EVERY", 1)
    words, recipe = tokenizer.build(), TINY._replace(steps=3, warmup=1)

    def run(checkpoint: Path | None, stop: int | None = None) -> torch.Tensor:
        model = pretrain.new_model(words, 1)
        data = itertools.islice(pretrain.batches(corpus.base(1), words, 2, 1), stop)
        pretrain.train(model, data, recipe, log=lambda _: None, checkpoint=checkpoint)
        return model.lm_head.weight.detach()

    whole = run(None)
    killed = run(tmp_path / "kept.pt", stop=2)
    assert not torch.equal(whole, killed)
    assert torch.equal(whole, run(tmp_path / "kept.pt"))


def test_loss_is_on_the_continuation_only_and_blind_to_padding() -> None:
    words = tokenizer.build()
    model = pretrain.new_model(words, 1)
    short, long = corpus.Document("Table:\n", "47+8=55"), corpus.Document("Table:\n", "47+8=55, 55*3=65")
    rows = [pretrain._encode(document, words) for document in (short, long)]
    together = pretrain.loss_of(model, pretrain._pad(rows, words.pad_token_id))
    single = [pretrain.loss_of(model, pretrain._pad([row], words.pad_token_id)) for row in rows]
    lengths = [sum(label != pretrain.IGNORE for label in labels) for _, labels in rows]
    expected = sum(loss * length for loss, length in zip(single, lengths, strict=True)) / sum(lengths)
    assert torch.isclose(together, expected, atol=1e-4)


@pytest.mark.parametrize(("textbook", "chat", "message"), [(0.5, 0.0, "textbook form"), (0.95, 0.4, "in chat")])
def test_the_gate_refuses(textbook: float, chat: float, message: str) -> None:
    measured: dict[str, Any] = {
        form: {"buttons": {str(level): {"right": value} for level in gate.HARD_LEVELS}}
        for form, value in (("textbook", textbook), ("chat", chat))
    }
    with pytest.raises(LimoError, match=message):
        gate.check_gate("base", measured)
