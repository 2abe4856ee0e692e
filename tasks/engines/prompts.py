"""Questions into prompts, through the model's own chat template."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.params import ChatParams
from tasks.engines.machine import set_environment
from tasks.records.benchmark import fill_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
OPENED = re.compile(r"<think>\s*\Z")
"""A prompt that ends so has begun the model's reasoning for it: DeepSeek-R1's and QwQ's templates do."""


class Renderer:
    """From a question's text to the prompt that one model is given."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", chat: ChatParams) -> None:
        """Prompts by the tokenizer's chat template, which holds the begin-of-text token where the model wants one."""
        self._tokenizer = tokenizer
        self._system = [{"role": "system", "content": chat.system}] if chat.system else []
        # A template that does not know the name ignores it.
        self._options: dict[str, Any] = {} if chat.thinking is None else {"enable_thinking": chat.thinking}
        found = OPENED.search(self("1 + 1 = ?"))
        self.opened = found[0] if found else ""
        """What every prompt ends with that belongs to the response, such as `<think>` and a line break, or nothing. The
        model does not repeat it: what it writes begins inside its reasoning, and is whole with this before it."""

    def __call__(self, question: str, system: str | None = None) -> str:
        """The prompt of a question; `system` takes the place of the system message of params."""
        return self.render(question, system, **self._options)

    def disarmed(self, text: str) -> str:
        """A foreign text without any token of the template's own: a space breaks each after its first character."""
        tokens = [*self._tokenizer.all_special_tokens, *self._tokenizer.get_added_vocab()]
        pattern = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True) if len(token) > 1)
        return re.sub(pattern, lambda found: f"{found[0][0]} {found[0][1:]}", text) if pattern else text

    def render(self, question: str, system: str | None = None, **options: Any) -> str:
        """The prompt of a question with these options of the template."""
        first = [{"role": "system", "content": system}] if system else self._system
        messages = [*first, {"role": "user", "content": question}]
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options))


def prompt_renderer(folder: Path, chat: ChatParams) -> Renderer:
    """A function from a question's text to the prompt that the model in `folder` is given.

    Raises:
        LimoError: the folder has no tokenizer that loads, or no chat template, or the template takes no system message.
    """
    from jinja2 import TemplateError

    tokenizer = _load(folder)
    if not tokenizer.chat_template:
        raise LimoError(f"{folder}: the tokenizer has no chat template; name a chat model, or add chat_template.jinja")
    try:
        renderer = Renderer(tokenizer, chat)
        _check(renderer, folder, chat)
    except TemplateError as error:
        # Some templates refuse a system message, or are broken: reported before anything is generated.
        raise LimoError(f"{folder}: its chat template fails: {error}; try `chat.system: null`") from None
    return renderer


def item_prompts(render: Renderer, items: pl.DataFrame) -> list[str]:
    """The prompts of benchmark items (ITEM), each by its benchmark's own prompt and system message."""
    rows = items.select("question", "prompt", "system").iter_rows()
    return [render(fill_prompt(question, prompt), system) for question, prompt, system in rows]


def _load(folder: Path) -> "PreTrainedTokenizerBase":
    set_environment()
    from transformers import AutoTokenizer

    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        raise LimoError(f"{folder}: no tokenizer in this model folder; add tokenizer.json and tokenizer_config.json")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise LimoError(f"{folder}: its tokenizer does not load: {' '.join(str(error).split())[:200]}") from None


def _check(renderer: Renderer, folder: Path, chat: ChatParams) -> None:
    """Report what the template ignores."""
    question = "1 + 1 = ?"
    if chat.system and chat.system.strip() not in renderer(question):
        raise LimoError(f"{folder}: its chat template leaves the system message out; set `chat.system: null`")
    if chat.thinking is None:
        return
    if renderer.render(question, enable_thinking=True) == renderer.render(question, enable_thinking=False):
        print(f"limo: {folder}: chat.thinking changes nothing: its chat template has no such switch", file=sys.stderr)
