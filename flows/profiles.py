"""Profiles: named settings of the whole pipeline. params.yaml is what runs; `limo use NAME` writes it from a profile.

`profiles/default.yaml` states every section. Any other profile states, in full, the sections that differ; a section it
does not name is the default's.
"""

from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks.core.errors import LimoError
from tasks.core.stage import required_sections

FOLDER = Path("profiles")
DEFAULT = "default"


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def compose(name: str, *, complete: bool = True) -> dict[str, Any]:
    """The full params tree of a profile, comments kept.

    Args:
        complete: with an empty section for each stage of dvc.yaml that the profile does not state.

    Raises:
        LimoError: there is no such profile; lists those that there are.
    """
    if name not in names():
        raise LimoError(f"{FOLDER / name}.yaml: no such profile; there are {', '.join(names())}")
    tree: dict[str, Any] = _yaml().load(FOLDER / f"{DEFAULT}.yaml")
    if name != DEFAULT:
        tree.update(_yaml().load(FOLDER / f"{name}.yaml"))
    tree["profile"] = name
    for section in required_sections() if complete else ():
        tree.setdefault(section, {})
    return tree


def render(name: str, *, complete: bool = True) -> str:
    """The params.yaml of a profile, as text."""
    stream = StringIO()
    _yaml().dump(compose(name, complete=complete), stream)
    return stream.getvalue()


def use(name: str, target: Path = Path("params.yaml"), *, force: bool = False) -> None:
    """Write the profile's params to `target`.

    Raises:
        LimoError: `target` has edits of its own that would be lost, and `force` is not given.
    """
    text = render(name)
    # Without the empty sections too: it may have been written before dvc.yaml had a stage more.
    unedited = {render(known, complete=complete) for known in names() for complete in (True, False)}
    if target.exists() and not force and target.read_text(encoding="utf-8") not in unedited:
        raise LimoError(f"{target}: has edits of its own; save them as profiles/<name>.yaml, or give --force")
    target.write_text(text, encoding="utf-8")


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 120, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
