import json
import shutil

import pytest

from tasks.core.errors import LimoError
from tasks.core.params import SYSTEM, ChatParams
from tasks.engines.prompts import prompt_renderer
from tasks.grading.extract import extract
from tests.builders import SHIPPED


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(SHIPPED / "base", tmp_path / "model")


def set_template(folder, template, **more):
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"chat_template": template} | more
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_question_goes_through_the_models_own_template(folder):
    prompt = prompt_renderer(folder, ChatParams())("What is 3 + 4?")
    assert SYSTEM in prompt
    assert prompt.index(SYSTEM) < prompt.index("What is 3 + 4?") < prompt.index("assistant")


def test_without_a_system_message(folder):
    set_template(folder, "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}")
    assert prompt_renderer(folder, ChatParams(system=None))("3 + 4?") == "[user] 3 + 4?"


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LimoError, match=f"{tmp_path}: no tokenizer in this model folder"):
        prompt_renderer(tmp_path, ChatParams())


def test_a_broken_tokenizer_is_named(folder):
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(LimoError, match="its tokenizer does not load"):
        prompt_renderer(folder, ChatParams())


def test_a_tokenizer_without_chat_template_is_named(folder):
    set_template(folder, None)
    with pytest.raises(LimoError, match="no chat template"):
        prompt_renderer(folder, ChatParams())


def test_a_template_that_refuses_is_reported_before_anything_starts(folder):
    set_template(folder, "{{ raise_exception('no system message here') }}")
    with pytest.raises(LimoError, match="no system message here"):
        prompt_renderer(folder, ChatParams())


THINK = "<think>\n"
USER = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
DEEPSEEK_R1 = (
    "{% set ns = namespace(system='') %}{% for m in messages if m.role == 'system' %}{% set ns.system = m.content %}"
    "{% endfor %}{{ bos_token }}{{ ns.system }}{% for m in messages if m.role == 'user' %}"
    "{{ '<｜User｜>' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)
QWQ = USER + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
QWEN2_5 = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Qwen.<|im_end|>\n{% endif %}"
    + USER
    + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = USER + (
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""What the published templates of these models do with one turn."""
ASKED = "<|im_start|>user\n3 + 4?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("template", "chat", "prompt", "opened"),
    [
        (DEEPSEEK_R1, ChatParams(system=None), "<BOS><｜User｜>3 + 4?<｜Assistant｜><think>\n", THINK),
        (DEEPSEEK_R1, ChatParams(system="Add."), "<BOS>Add.<｜User｜>3 + 4?<｜Assistant｜><think>\n", THINK),
        (QWQ, ChatParams(system=None), ASKED + THINK, THINK),
        (QWEN2_5, ChatParams(system="Add."), "<|im_start|>system\nAdd.<|im_end|>\n" + ASKED, ""),
        (QWEN2_5, ChatParams(system=None), "<|im_start|>system\nYou are Qwen.<|im_end|>\n" + ASKED, ""),
        (QWEN3, ChatParams(system=None), ASKED, ""),
        (QWEN3, ChatParams(system=None, thinking=True), ASKED, ""),
        # Reasoning that the prompt opens and closes is none of the response's.
        (QWEN3, ChatParams(system=None, thinking=False), ASKED + "<think>\n\n</think>\n\n", ""),
    ],
)
def test_prompts_of_models_that_reason(folder, template, chat, prompt, opened, capfd):
    set_template(folder, template, bos_token="<BOS>")
    render = prompt_renderer(folder, chat)
    assert render("3 + 4?") == prompt
    assert render.opened == opened
    assert capfd.readouterr().err == ""


def test_a_response_with_its_opening_is_graded_whole(folder):
    set_template(folder, QWQ)
    opened = prompt_renderer(folder, ChatParams()).opened
    assert extract(opened + "So \\boxed{6}? No.\n</think>\n\nIt is \\boxed{7}.").answer == "7"
    cut_off = "So \\boxed{6}? No, wait"
    assert extract(opened + cut_off).reason == "unfinished_reasoning"
    # Without it, what the model only tried would count.
    assert extract(cut_off).answer == "6"


def test_a_template_that_drops_the_system_message_is_reported(folder):
    set_template(folder, "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}")
    with pytest.raises(LimoError, match="leaves the system message out; set `chat.system: null`"):
        prompt_renderer(folder, ChatParams())


def test_a_switch_that_the_template_has_not_is_reported(folder, capfd):
    set_template(folder, QWQ)
    render = prompt_renderer(folder, ChatParams(system=None, thinking=False))
    assert render("3 + 4?") == ASKED + THINK
    assert "chat.thinking changes nothing" in capfd.readouterr().err
