"""Which tokens are in the loss, in which order, with what weight, and which checkpoint is exported."""

import pytest

from tasks.core.errors import LimoError
from tasks.training.data import (
    EncodedSample,
    assign_packs,
    batch_rows,
    choose_checkpoint,
    collate,
    encode,
    epoch_order,
    learning_rate,
    make_schedule,
    sample_weights,
    steps_per_epoch,
    token_batches,
)
from tasks.training.recipe import Recipe
from tests.training.tiny import TEMPLATE, make_tokenizer


def test_response_and_end_token_are_in_the_loss_and_nothing_else():
    tokenizer = make_tokenizer()
    sample = encode(tokenizer, "c_1", "Think.", "What is 1 + 1?", "It is \\boxed{2}.")
    prompt = "<|im_start|>system\nThink.<|im_end|>\n<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(sample.ids[: sample.prompt]) == prompt
    assert tokenizer.decode(sample.ids[sample.prompt :]) == "It is \\boxed{2}.<|im_end|>"
    pack = collate([sample, EncodedSample("c_2", [5, 6, 7], 2)], [0.5, 0.25])
    assert pack.ids.tolist() == [[*sample.ids, 5, 6, 7]]
    assert pack.positions.tolist() == [[*range(len(sample.ids)), 0, 1, 2]]
    assert pack.lengths == (len(sample.ids), 3)
    in_loss = pack.target[pack.sample == 0].tolist()
    assert tokenizer.decode(in_loss) == "It is \\boxed{2}.<|im_end|>"
    assert pack.ids[0, pack.place + 1].tolist() == pack.target.tolist()
    assert pack.weight.tolist() == [0.5] * sample.loss_tokens + [0.25]


@pytest.mark.parametrize(
    ("template", "line"),
    [
        (TEMPLATE.replace("assistant\n{% endif", "assistant\n<think>{% endif"), "does not continue its own prompt"),
        (TEMPLATE.replace("m.content", "m.content.split('</think>')|last"), "changes the response of sample c_1"),
        (TEMPLATE.replace("<|im_end|>\n", "\n"), "does not close an answer with the end token `<|im_end|>`"),
    ],
)
def test_a_template_that_cannot_be_trained_on_is_named(template, line):
    with pytest.raises(LimoError) as caught:
        encode(make_tokenizer(template), "c_1", "s", "q", "so</think>r")
    assert line in str(caught.value)


def test_reasoning_that_the_prompt_opens_is_in_the_loss_from_there():
    tokenizer = make_tokenizer(TEMPLATE.replace("assistant\n{% endif", "assistant\n<think>{% endif"))
    sample = encode(tokenizer, "c_1", None, "q", "<think>so</think>r")
    assert tokenizer.decode(sample.ids[sample.prompt :]) == "so</think>r<|im_end|>"


def test_the_templates_switch_for_reasoning_is_set_as_at_inference():
    switch = "{% if enable_thinking is defined and not enable_thinking %}no {% endif %}"
    tokenizer = make_tokenizer(switch + TEMPLATE)
    prompts = [
        tokenizer.decode(sample.ids[: sample.prompt])
        for sample in (encode(tokenizer, "c", None, "q", "r", thinking=value) for value in (None, True, False))
    ]
    assert prompts[0] == prompts[1]
    assert prompts[2] == f"no {prompts[0]}"


def test_order_depends_on_seed_and_epoch_only():
    assert epoch_order(6, seed=1, epoch=0) == epoch_order(6, seed=1, epoch=0)
    assert len({tuple(epoch_order(20, seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    # Pinned: another order would break resuming from earlier checkpoints.
    assert epoch_order(6, seed=42, epoch=0) == [1, 3, 0, 5, 2, 4]


def test_every_epoch_sees_every_sample_once():
    assert steps_per_epoch(10, 4) == 3
    for epoch in range(2):
        batches = [batch_rows(10, 42, 4, epoch * 3 + index) for index in range(3)]
        assert [len(batch) for batch in batches] == [4, 4, 2]
        assert sorted(row for batch in batches for row in batch) == list(range(10))


@pytest.mark.parametrize(
    ("rows", "ranks", "tokens"), [(8, 2, 90), (7, 2, 400), (3, 2, 60), (5, 4, 1), (1, 1, 9), (0, 2, 9)]
)
def test_ranks_get_equally_many_packs_that_hold_what_they_may(rows, ranks, tokens):
    lengths = [10 * row + 1 for row in range(rows)]
    assigned = assign_packs(range(rows), lengths, ranks, tokens)
    assert len({len(share) for share in assigned}) == 1
    packs = [pack for share in assigned for pack in share]
    assert sorted(row for pack in packs for row in pack) == list(range(rows))
    assert all(len(pack) == 1 or sum(lengths[row] for row in pack) <= tokens for pack in packs if pack)


def test_packs_are_even_and_alike_over_ranks():
    assert assign_packs([0, 1, 2, 3], [9, 1, 8, 2], ranks=2, tokens=10) == [[[0, 1]], [[2, 3]]]
    lengths = [(place * 37) % 90 + 10 for place in range(64)]
    assigned = assign_packs(range(64), lengths, ranks=2, tokens=512)
    sums = [[sum(lengths[row] for row in pack) for pack in share] for share in assigned]
    assert all(abs(a - b) < 60 for a, b in zip(*sums, strict=True))
    assert len(sums[0]) == -(-sum(lengths) // 1024)


def test_weights_of_a_batch_sum_to_one():
    tokens = [1, 3, 12]
    for weighting in ("token", "example"):
        assert sum(w * n for w, n in zip(sample_weights(tokens, weighting), tokens, strict=True)) == pytest.approx(1)
    assert sample_weights(tokens, "token") == [1 / 16] * 3
    assert sample_weights(tokens, "example") == [1 / 3, 1 / 9, 1 / 36]


def test_an_empty_pack_weighs_nothing():
    pack = collate([], [])
    assert pack.ids.shape == (1, 2)
    assert pack.weight.tolist() == [0.0]


@pytest.mark.parametrize(
    ("step", "scheduler", "warmup", "expected"),
    [
        (0, "cosine", 0, 1.0),
        (5, "cosine", 0, 0.5),
        (0, "cosine", 2, 0.0),
        (1, "cosine", 2, 0.5),
        (2, "cosine", 2, 1.0),
        (9, "linear", 0, 0.1),
        (9, "constant", 0, 1.0),
    ],
)
def test_learning_rate(step, scheduler, warmup, expected):
    assert learning_rate(step, 10, 1.0, scheduler, warmup) == pytest.approx(expected)


def test_a_budget_of_tokens_gives_every_run_the_same_steps_and_tokens():
    for lengths in ([100] * 50, [37, 5, 300, 80, 12], [900], [1, 2, 3] * 200):
        batches = token_batches(lengths, seed=1, batch_tokens=240, steps=20)
        tokens = sum(lengths[row] for batch in batches for row in batch)
        assert len(batches) == 20
        assert all(batches)
        if max(lengths) <= 240:
            assert 0 <= tokens - 20 * 240 < max(lengths)
        assert batches == token_batches(lengths, seed=1, batch_tokens=240, steps=20)


def test_samples_are_taken_epoch_after_epoch():
    batches = token_batches([10] * 6, seed=3, batch_tokens=40, steps=6)
    flat = [row for batch in batches for row in batch]
    assert [sorted(flat[start : start + 6]) for start in range(0, 24, 6)] == [list(range(6))] * 4


SAMPLES = [EncodedSample(f"c_{place}", [1, 2, 3, 4], 2) for place in range(800)]


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (Recipe(global_batch=32, select_epoch=9), "epoch 9 of 15, step 225 of 375: chosen by train.select_epoch"),
        (Recipe(global_batch=32), "epoch 15 of 15, step 375 of 375: the last"),
        (Recipe(steps=30, batch_tokens=100), "step 30 of 30: the last"),
    ],
)
def test_the_exported_checkpoint_in_words(recipe, text):
    assert str(choose_checkpoint(make_schedule(SAMPLES, recipe), recipe)) == text
