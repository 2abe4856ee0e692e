"""Which of our files a stage's result depends on, and keeping dvc.yaml's `deps` equal to that.

A stage's code dependencies are its module's import closure within `tasks`, plus the data files that modules of that
closure name. So editing a grader reruns what uses it and nothing else. `python -m flows.contract` rewrites the deps in
dvc.yaml (`make deps`); a test checks that they are right.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

DVC_FILES = (Path("dvc.yaml"), Path("profiles/ablations/dvc.yaml"))
DATA_SUFFIXES = {".json", ".yaml", ".html", ".j2", ".css"}


def closure(module: str, root: Path = Path()) -> set[str]:
    """Paths, relative to `root`, of the files that `module` (dotted) is made of: itself, its imports, their data files.

    A string literal that names one of our modules counts as an import: that is how a worker process is started.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = _module_path(waiting.pop(), root)
        if path is None or str(path.relative_to(root)) in found:
            continue
        found.add(str(path.relative_to(root)))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.update(_data_files(tree, path, root))
        waiting.extend(_imported(tree))
    return {name for name in found if not _is_bare_package(root / name)}


def stage_module(cmd: str) -> str:
    """The module a stage's command starts: `python -m tasks.pull --out ...` -> `tasks.pull`."""
    words = cmd.split()
    return words[words.index("-m") + 1]


def code_deps(deps: list[str]) -> set[str]:
    """Those of a stage's deps that are our code, not artifacts, params or folders of shipped weights."""
    return {dep for dep in deps if dep.startswith(("tasks/", "flows/")) and Path(dep).suffix}


def rewrite(path: Path) -> None:
    """Set each stage's code deps in a dvc.yaml to its closure, leaving artifacts, order and comments alone."""
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 120, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(path)
    for entry in tree["stages"].values():
        stage = entry.get("do", entry)
        data = [dep for dep in stage["deps"] if dep not in code_deps(stage["deps"])]
        stage["deps"] = data + sorted(closure(stage_module(stage["cmd"])))
    yaml.dump(tree, path)


def _module_path(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _ours(node.module):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _ours(node.value):
            yield node.value


def _data_files(tree: ast.AST, path: Path, root: Path) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and Path(node.value).suffix in DATA_SUFFIXES:
            data = path.parent / node.value
            if data.is_file():
                yield str(data.relative_to(root))


def _ours(name: str) -> bool:
    return name.startswith(("tasks.", "flows.")) and name.replace(".", "").replace("_", "").isalnum()


def _is_bare_package(path: Path) -> bool:
    """An `__init__.py` that holds nothing but its docstring."""
    return path.name == "__init__.py" and len(ast.parse(path.read_text(encoding="utf-8")).body) <= 1


if __name__ == "__main__":
    for dvc_file in DVC_FILES:
        rewrite(dvc_file)
