"""Questions into prompts, through the model's own chat template."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.engines.environment import set_environment
from tasks.engines.params import ChatParams
from tasks.errors import LimoError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")


def prompt_renderer(folder: Path, chat: ChatParams) -> Callable[[str], str]:
    """A function from a question's text to the prompt that the model in `folder` is given.

    Raises:
        LimoError: the folder has no tokenizer that loads, or no chat template.
    """
    tokenizer = _load(folder)
    if not tokenizer.chat_template:
        raise LimoError(f"{folder}: the tokenizer has no chat template; name a chat model, or add chat_template.jinja")
    system = [{"role": "system", "content": chat.system}] if chat.system else []

    def render(question: str) -> str:
        messages = [*system, {"role": "user", "content": question}]
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    _try(render, folder)
    return render


def _load(folder: Path) -> "PreTrainedTokenizerBase":
    set_environment()
    from transformers import AutoTokenizer

    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        raise LimoError(f"{folder}: no tokenizer in this model folder; add tokenizer.json and tokenizer_config.json")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise LimoError(f"{folder}: its tokenizer does not load: {' '.join(str(error).split())[:200]}") from None


def _try(render: Callable[[str], str], folder: Path) -> None:
    """Some templates refuse a system message, or are broken: say so before anything is generated."""
    from jinja2 import TemplateError

    try:
        render("1 + 1 = ?")
    except TemplateError as error:
        raise LimoError(f"{folder}: its chat template fails: {error}; try `chat.system: null`") from None
