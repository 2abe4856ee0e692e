from typing import Annotated

import pytest
from pydantic import Field

from tasks.core.errors import LimoError
from tasks.core.params import ModelName, Params, load_section, read_tree, unknown_names


class BandLike(Params):
    model: str
    samples: int = 32


def write(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_a_section_is_read_with_its_defaults(tmp_path):
    assert load_section(write(tmp_path, "band: {model: strong}"), "band", BandLike) == BandLike(
        model="strong", samples=32
    )


def test_every_mistake_of_a_section_is_reported_with_its_key(tmp_path):
    path = write(tmp_path, "band: {samples: many, typo: 1}")
    with pytest.raises(LimoError) as raised:
        load_section(path, "band", BandLike)
    lines = str(raised.value).splitlines()
    assert [line.removeprefix(f"{path}: ").split(":")[0] for line in lines] == [
        "band.model",
        "band.samples",
        "band.typo",
    ]
    assert "required but missing" in lines[0]
    assert "found 'many'" in lines[1]
    assert "unknown key" in lines[2]


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "not valid YAML"), ("- 1", "must be a mapping"), ("", "must be a mapping")]
)
def test_a_broken_params_file_is_one_line(tmp_path, text, said):
    with pytest.raises(LimoError, match=said) as raised:
        read_tree(write(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_a_missing_params_file_says_where_to_run(tmp_path):
    with pytest.raises(LimoError, match="run from the project's folder"):
        read_tree(tmp_path / "params.yaml")


class Others(Params):
    of_models: dict[str, ModelName] | None = None
    listed: tuple[ModelName, ...] | None = None
    pair: tuple[str, ModelName] = ("any", "a")
    several: list[ModelName] = []  # noqa: RUF012
    one: Annotated[ModelName, Field(min_length=1)] | int = 3
    inner: dict[ModelName, tuple[ModelName, ...]] = {}  # noqa: RUF012


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ({"of_models": {"x": "b", "y": "a"}}, ["others.of_models.x"]),
        ({"listed": ["a", "b"]}, ["others.listed.1"]),
        ({"pair": ["b", "b"]}, ["others.pair.1"]),
        ({"several": ["b"]}, ["others.several.0"]),
        ({"one": "b"}, ["others.one"]),
        ({"one": 4}, []),
        ({"inner": {"b": ["a", "c"]}}, ["others.inner.b", "others.inner.b.1"]),
    ],
)
def test_names_are_found_whatever_the_type_of_the_field(section, keys):
    tree = {"base": {"models": {"a": {}}}, "others": section}
    assert [error.split(":")[0] for error in unknown_names(tree, {"others": Others})] == keys
