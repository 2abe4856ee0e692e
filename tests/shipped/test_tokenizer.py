"""The tokenizer: whole words, single digits, any text back unchanged, the chat template."""

import itertools
from pathlib import Path

import pytest
from transformers import AutoTokenizer, Qwen2Config, Qwen2Tokenizer

from tasks.shipped import corpus, tokenizer

pytestmark = pytest.mark.slow


def words() -> Qwen2Tokenizer:
    return tokenizer.build()


@pytest.mark.parametrize(
    "text",
    ["", " ", "\n\n  two\ttabs ", "héllo 漢字 🎉 \u200b", "\\boxed{07}", "$\\frac{1}{2}$", "a<|im_b", "x\r\ny"],
)
def test_any_text_comes_back(text: str) -> None:
    assert words().decode(words().encode(text)) == text


def test_corpus_words_are_one_token_and_digits_stand_alone() -> None:
    pieces = words().tokenize("Button K adds 8. It shows 47")
    assert [piece.replace("Ġ", " ") for piece in pieces] == [
        "Button", " K", " adds", " ", "8", ".", " It", " shows", " ", "4", "7",
    ]  # fmt: skip


def test_every_corpus_word_is_one_token() -> None:
    splitter, vocabulary = words().backend_tokenizer.pre_tokenizer, words().get_vocab()
    for name in corpus.CORPORA:
        for document in itertools.islice(corpus.CORPORA[name](5), 300):
            for piece, _ in splitter.pre_tokenize_str(document.continuation):
                assert piece in vocabulary, piece


def test_auto_tokenizer_reads_the_folder_back_the_same(tmp_path: Path) -> None:
    Qwen2Config().save_pretrained(tmp_path)
    words().save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for document in itertools.islice(corpus.careful(5), 50):
        text = document.prompt + document.continuation
        assert again.encode(text) == words().encode(text)
    assert again.chat_template == words().chat_template


def test_template_is_the_prompt_of_the_corpus() -> None:
    message = {"role": "user", "content": "Press A.\nWhat is 3?"}
    for messages in ([message], [{"role": "system", "content": corpus.SYSTEM}, message]):
        rendered = words().apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert rendered == corpus.chat_prompt(message["content"])


def test_end_and_padding_differ() -> None:
    assert words().eos_token == corpus.END
    assert words().pad_token == corpus.PAD
    assert words().eos_token_id != words().pad_token_id
