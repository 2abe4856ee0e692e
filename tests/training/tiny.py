"""A model of a few thousand weights, its tokenizer of single characters, and samples for it."""

import random

import polars as pl

from tasks.records.response import SAMPLE

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(template=TEMPLATE):
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: place for place, token in enumerate([*special, *map(chr, range(32, 127)), "\n"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<|pad|>"))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.decoder = decoders.Fuse()
    # The end token pads, as it does in many models: training must learn it all the same.
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = template
    return fast


def make_model(seed=0):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(make_tokenizer()),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
    )
    return Qwen2ForCausalLM(config)


def make_folder(path):
    make_model().save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


def make_samples(count, **fields):
    """`count` samples of differing length; `fields` go into the first."""
    chance = random.Random(0)
    rows = []
    for place in range(count):
        a, b = chance.randrange(99), chance.randrange(99)
        text = "Let me see. " * chance.randrange(1, 5) + f"\\boxed{{{a + b}}}"
        row = dict.fromkeys(SAMPLE, None) | {"question": f"What is {a} + {b}?", "answer": str(a + b), "text": text}
        rows.append(row | {"chain_id": f"c_{place}", "rank": place + 1})
    rows[0] |= fields
    return pl.DataFrame(rows, SAMPLE)
