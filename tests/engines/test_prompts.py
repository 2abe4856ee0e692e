import json
import shutil

import pytest

from tasks.engines.params import SYSTEM, ChatParams
from tasks.engines.prompts import prompt_renderer
from tasks.errors import LimoError
from tests.builders import SHIPPED


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(SHIPPED / "base", tmp_path / "model")


def set_template(folder, template):
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"chat_template": template}
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


def test_a_template_that_refuses_is_told_before_anything_starts(folder):
    set_template(folder, "{{ raise_exception('no system message here') }}")
    with pytest.raises(LimoError, match="no system message here"):
        prompt_renderer(folder, ChatParams())
