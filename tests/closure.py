"""Which of our files a stage is made of: its module's import closure."""

import ast
from functools import cache
from pathlib import Path


def closure(module: str, root: Path = Path()) -> set[str]:
    """Paths, relative to `root`, of `module` (dotted), what it imports within `tasks` and `flows`, and so on.

    A string literal that names one of our modules counts as an import: that is how a worker process is started.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = _module_path(waiting.pop(), root)
        if path is None or str(path.relative_to(root)) in found:
            continue
        found.add(str(path.relative_to(root)))
        waiting.extend(imported(path))
    return {name for name in found if not _is_bare_package(root / name)}


def stage_module(cmd: str) -> str:
    """The module a stage's command starts: `python -m tasks.pull --out ...` -> `tasks.pull`."""
    words = cmd.split()
    return words[words.index("-m") + 1]


def code_deps(deps: list[str]) -> set[str]:
    """Those of a stage's deps that are our code: modules and folders, but no folder of shipped weights."""
    return {dep for dep in deps if f"{dep}/".startswith(("tasks/", "flows/")) and not dep.startswith("tasks/shipped/")}


def wrong_deps(deps: list[str], module: str) -> tuple[set[str], set[str]]:
    """What to add to a stage's deps, since its module imports from there, and what is listed in vain."""
    listed = code_deps(deps)
    files = closure(module)
    missing = {_folder(file) for file in files if not any(_within(file, dep) for dep in listed)}
    vain = {dep for dep in listed if not any(_within(file, dep) for file in files)}
    return missing, vain


def _within(file: str, dep: str) -> bool:
    return file == dep or file.startswith(dep + "/")


def _folder(file: str) -> str:
    return "/".join(Path(file).parts[:2])


def _module_path(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def imported(path: Path) -> list[str]:
    """The names of our modules, and of what is in them, that a module imports or names in a string."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names if _ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and (node.module == "tasks" or _ours(node.module)):
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _ours(node.value):
            found.append(node.value)
    return found


def _ours(name: str) -> bool:
    return name.startswith(("tasks.", "flows.")) and name.replace(".", "").replace("_", "").isalnum()


@cache
def _is_bare_package(path: Path) -> bool:
    """An `__init__.py` that holds nothing but its docstring."""
    return path.name == "__init__.py" and len(ast.parse(path.read_text(encoding="utf-8")).body) <= 1
