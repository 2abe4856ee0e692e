"""A small model of Qwen2.5's architecture with random weights, and samples of random words for it."""

import random
from pathlib import Path
from typing import Any

import polars as pl

from tasks.records.response import SAMPLE

WORDS = 16_384
TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


SIZES: dict[str, dict[str, Any]] = {
    "20m": {
        "vocab_size": WORDS,
        "hidden_size": 384,
        "intermediate_size": 1152,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    },
    "1.5b": {
        "vocab_size": 151_936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
    },
    "7b": {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}
"""The last two are Qwen2.5's; in the first the head is a third of the work in the body, as in Qwen2.5-0.5B."""


def make_model(folder: Path, size: str = "20m") -> Path:
    """A model of Qwen2's architecture with random weights, and its tokenizer of words."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>", "system", "user", "assistant"]
    vocabulary = {word: place for place, word in enumerate([*special, *map(str, range(WORDS - len(special)))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|pad|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special[:3]])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>")
    fast.chat_template = TEMPLATE
    torch.manual_seed(0)
    shape = {"tie_word_embeddings": True, "max_position_embeddings": 32_768} | SIZES[size]
    config = Qwen2Config(**shape, bos_token_id=None, eos_token_id=2)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def make_samples(count: int, longest: int, seed: int = 0) -> pl.DataFrame:
    """Samples (SAMPLE) whose responses are as unlike in length as chains are: log-normal, a median of a fifth of the
    longest."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for place in range(count):
        length = min(longest - 150, max(30, int(longest / 2048 * chance.lognormvariate(6.0, 0.8))))
        question, text = (_words(chance, size) for size in (chance.randint(40, 120), length))
        row = dict.fromkeys(SAMPLE, None) | {"question": question, "answer": "1", "text": text}
        rows.append(row | {"chain_id": f"c_{place}", "rank": place + 1})
    return pl.DataFrame(rows, SAMPLE)


def _words(chance: random.Random, count: int) -> str:
    # Few of them often, as in language, so that there is something to learn.
    return " ".join(str(int(chance.paretovariate(0.7)) % 16_000) for _ in range(count))
