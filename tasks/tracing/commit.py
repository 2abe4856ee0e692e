"""Which code made the run: the commit, and whether files had changed since."""

import subprocess

COMMIT, DIRTY = "mlflow.source.git.commit", "limo.dirty"


def commit_tags() -> dict[str, str]:
    """The commit and the dirty flag as MLflow tags; empty outside a git repository or without a commit."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {COMMIT: commit, DIRTY: str(bool(changed)).lower()}


def _git(*words: str) -> str | None:
    try:
        asked = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None
