"""The tokenizer: one token a corpus word, one a digit, and bytes for all else, so that any text encodes and comes back.

Made, not trained: byte-level BPE without merges whose vocabulary holds the 256 bytes and the words of the corpus
(`ignore_merges` takes a whole word where it is in the vocabulary). Digits stand alone, with or without the space before
them, so a two-digit number is always two tokens.
"""

import itertools
import random
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tasks.families import families, problems
from tasks.shipped import chains, corpus

WORD = r" ?\p{L}+| ?\p{N}|<\|| ?[^\s\p{L}\p{N}]|\s"
TEMPLATE = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\n" + corpus.SYSTEM + "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build() -> PreTrainedTokenizerFast:
    """The tokenizer of all shipped models, the same at every call."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    splitter = _splitter()
    words = sorted({word for text in _sample() for word, _ in splitter.pre_tokenize_str(text)})
    specials = [corpus.PAD, corpus.BEGIN, corpus.END]
    tokens = [*alphabet, *(word for word in words if len(word) > 1)]
    inner = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, [], ignore_merges=True))
    inner.pre_tokenizer = splitter
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(specials)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=corpus.END,
        pad_token=corpus.PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def _splitter() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(WORD), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _sample() -> Iterable[str]:
    """Enough text to meet every word."""
    rng = random.Random("tokenizer")
    yield "system\nuser\nassistant\n" + corpus.SYSTEM
    for document in itertools.islice(corpus.base(0), 4000):
        yield from document
    for name in families():
        for problem in problems(name, 800, 0, corpus.LEVELS, "pretrain"):
            for style in chains.STYLES:
                yield chains.chain(rng, problem, style)


def save(folder: Path) -> None:
    """Writes the tokenizer files of a Hugging Face folder."""
    build().save_pretrained(folder)
