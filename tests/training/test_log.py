"""Utilisation by hand for a model of round numbers, on GPUs by their drivers' names."""

import json

import pytest

from tasks.models.shapes import KINDS, gpu_kind
from tasks.training import log

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
}


@pytest.fixture
def model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", None),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("cpu", None),
    ],
)
def test_gpus_by_the_names_of_their_drivers(name, kind):
    found = gpu_kind(name)
    assert (found and found.name) == kind


def test_utilisation_is_of_the_peak_of_all_gpus(model, monkeypatch):
    monkeypatch.setattr(log, "_device_name", lambda: "NVIDIA H200")
    # Attention: q, k, v and o of 64 x 64; the MLP's three of 64 x 128; two norms a layer, one at the end; the output.
    weights = 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64 + 1000 * 64
    token = 6 * weights + 3 * 4 * 2 * 64 * 50
    found = log.Meter(model, "cuda", 8).mfu([100, 100], 0.5)
    assert found == pytest.approx(200 * token / 0.5 / (8 * KINDS["H200"].flops))


def test_unknown_is_none(model, monkeypatch):
    assert log.Meter(model, "cpu", 1).mfu([100], 1.0) is None
    monkeypatch.setattr(log, "_device_name", lambda: "NVIDIA H200")
    (model / "config.json").write_text(json.dumps(CONFIG | {"model_type": "gpt2"}))
    assert log.Meter(model, "cuda", 1).mfu([100], 1.0) is None


def test_a_process_on_a_cpu_takes_memory(model):
    assert 10 < log.Meter(model, "cpu", 1).memory() < 100_000
