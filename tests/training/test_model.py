"""A pack of samples is trained on as each of them alone would be, to the loss and to the gradient."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from tasks.core.errors import LimoError
from tasks.training import model
from tasks.training.data import EncodedSample, collate
from tasks.training.loop import pack_losses
from tasks.training.model import (
    PACKED,
    FusedHead,
    PackLengths,
    attention_arguments,
    compile_layers,
    packed_attention,
    register_attention,
    token_losses,
)
from tests.training.tiny import make_model

SAMPLES = [
    EncodedSample("a", list(range(10, 40)), 5),
    EncodedSample("b", list(range(50, 60)), 3),
    EncodedSample("c", [7, 8, 9, 7, 8, 9, 7], 1),
]
WEIGHTS = [0.02, 0.01, 0.03]


def packed_model():
    register_attention()
    model = make_model()
    model.set_attn_implementation(PACKED)
    return model, FusedHead(model)


def plain(sample):
    """The token losses of one sample by the model as transformers has it."""
    model = make_model()
    logits = model(input_ids=torch.tensor([sample.ids]), use_cache=False).logits[0]
    targets = torch.tensor(sample.ids[sample.prompt :])
    return model, F.cross_entropy(logits[sample.prompt - 1 : -1].float(), targets, reduction="none")


def test_a_pack_has_the_losses_and_gradients_of_its_samples_alone():
    model, fused = packed_model()
    weighted, losses = pack_losses(model, fused, collate(SAMPLES, WEIGHTS), PACKED)
    weighted.backward()
    alone = [plain(sample) for sample in SAMPLES]
    torch.testing.assert_close(losses, torch.cat([each for _, each in alone]).detach())
    total = sum(weight * each.sum() for weight, (_, each) in zip(WEIGHTS, alone, strict=True))
    torch.testing.assert_close(weighted, total)
    for weight, (_, each) in zip(WEIGHTS, alone, strict=True):
        (weight * each.sum()).backward()
    for name, parameter in model.named_parameters():
        expected = sum(dict(one.named_parameters())[name].grad for one, _ in alone)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-6)


def test_no_sample_sees_another():
    model, fused = packed_model()
    other = EncodedSample("z", [90, 91, 92] * 10, 5)
    with torch.no_grad():
        before = pack_losses(model, fused, collate([SAMPLES[0], SAMPLES[1]], [1.0, 1.0]), PACKED)[1]
        after = pack_losses(model, fused, collate([other, SAMPLES[1]], [1.0, 1.0]), PACKED)[1]
    torch.testing.assert_close(before[-SAMPLES[1].loss_tokens :], after[-SAMPLES[1].loss_tokens :])


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_the_loss_in_chunks_is_cross_entropy(monkeypatch, chunk):
    torch.manual_seed(0)
    words = 11
    monkeypatch.setattr(model, "LOGITS", chunk * words)
    hidden, weight = torch.randn(8, 5, requires_grad=True), torch.randn(words, 5, requires_grad=True)
    target, share = torch.randint(words, (8,)), torch.rand(8)
    weighted, losses = token_losses(hidden, weight, target, share)
    (weighted * 3).backward()
    found = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    expected = F.cross_entropy(hidden @ weight.t(), target, reduction="none")
    ((expected * share).sum() * 3).backward()
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(found, (hidden.grad, weight.grad))


def test_flash_attention_gets_where_samples_end():
    arguments = attention_arguments(collate(SAMPLES, WEIGHTS), "flash_attention_2")
    assert arguments["cu_seq_lens_q"].tolist() == [0, 30, 40, 47]
    assert arguments["max_length_k"] == 30


def test_a_window_shorter_than_a_sample_is_refused():
    part = torch.zeros(1, 2, 40, 4)
    with pytest.raises(LimoError, match="the model sees 16 tokens back, and a sample has 30; set flash_attention_2"):
        packed_attention(None, part, part, part, None, lengths=PackLengths((30, 10)), sliding_window=16)


def test_a_model_that_scales_its_logits_is_refused():
    model = make_model()
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(LimoError, match="Qwen2ForCausalLM: its last layer has final_logit_softcapping"):
        FusedHead(model)


def test_without_a_compiler_there_is_one_line(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(LimoError, match="train.compile needs the C\\+\\+ compiler no-such-compiler"):
        compile_layers(make_model())
