"""Rebuilding: a complete folder is kept, a changed recipe is made again, a base without knowledge is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.errors import LimoError
from tasks.shipped import corpus, gate, make, pretrain, tokenizer

TINY = pretrain.Recipe("base", steps=2, batch=2)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(make, "measure", lambda *_: {"nothing": 0})
    monkeypatch.setitem(make.RECIPES, "base", (TINY,))
    return tmp_path


def test_a_made_model_is_not_made_again_until_its_recipe_changes(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make.make("base", out)
    assert make.make("base", out)["tokens"] == first["tokens"]
    assert "already made" in capsys.readouterr().out
    monkeypatch.setitem(make.RECIPES, "base", (TINY, TINY._replace(seed=2)))
    assert len(make.make("base", out)["parts"]) == 2
    assert (out / "base" / "training.json").exists()


def test_training_is_deterministic() -> None:
    words = tokenizer.build()
    losses = []
    for _ in range(2):
        model = pretrain.new_model(words, 1)
        data = pretrain.batches(corpus.base(1), words, 2, 1)
        losses.append(pretrain.train(model, data, TINY, log=lambda _: None).losses)
    assert losses[0] == losses[1]


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
        gate.check(measured)
