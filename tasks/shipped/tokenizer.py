"""The tokenizer: one token a corpus word, one a digit, and bytes for all else, so that any text encodes and comes back.

Byte-level BPE in Qwen2's own class, because transformers rebuilds every Qwen2 folder's tokenizer with that class's
pre-tokenizer whatever tokenizer.json says. Its merges are learnt from the list of corpus words, each once, until every
word is whole.
"""

import itertools
import json
import random
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer

from tasks.families import families, problems
from tasks.shipped import corpus

VOCABULARY_LIMIT = 4000
TEMPLATE = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\n" + corpus.SYSTEM + "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@cache
def build() -> Qwen2Tokenizer:
    """The tokenizer of all shipped models, the same at every call."""
    splitter = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    words = sorted({word for text in _sample() for word, _ in splitter.pre_tokenize_str(text)})
    inner = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_LIMIT,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(words, trainer)
    learnt = json.loads(inner.to_str())["model"]
    merges: Any = [tuple(merge) for merge in learnt["merges"]]
    none: Any = None
    tokenizer = Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=merges,
        unk_token=none,
        eos_token=corpus.END,
        pad_token=corpus.PAD,
        extra_special_tokens=[corpus.BEGIN],
        model_max_length=1024,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _sample() -> Iterable[str]:
    """Enough text to meet every word."""
    rng = random.Random("tokenizer")
    yield "system\nuser\nassistant\n" + corpus.SYSTEM
    for document in itertools.islice(corpus.base(0), 8000):
        yield from (document.prompt, document.continuation)
    for name in families():
        for problem in problems(name, 800, 0, corpus.LEVELS, "pretrain"):
            for style in corpus.STYLES:
                yield corpus.chain(rng, problem, style)


def save(folder: Path) -> None:
    """Writes the tokenizer files of a Hugging Face folder."""
    build().save_pretrained(folder)
