"""Which code made the run: the commit, and whether files had changed since."""

import subprocess

COMMIT, DIRTY = "mlflow.source.git.commit", "limo.dirty"


def commit_tags() -> dict[str, str]:
    """The commit and the dirty flag as MLflow tags; empty outside a git repository or without a commit."""
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = git("status", "--porcelain", "--untracked-files=no")
    return {COMMIT: commit, DIRTY: str(bool(changed)).lower()}


def git(*words: str) -> str | None:
    """What a git command prints; None where there is no git, or the command fails."""
    try:
        asked = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None
