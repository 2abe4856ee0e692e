"""Which code made the run: the commit, and whether files had changed since; dvc.lock is left out, as DVC writes it."""

import subprocess

COMMIT, DIRTY = "mlflow.source.git.commit", "limo.dirty"


def commit_tags() -> dict[str, str]:
    """The commit and the dirty flag as MLflow tags; empty outside a git repository or without a commit."""
    commit = git("rev-parse", "HEAD")
    return {} if commit is None else {COMMIT: commit, DIRTY: str(_changed()).lower()}


def described_commit() -> str | None:
    """The commit, with `-dirty` where files had changed since; None where there is none."""
    commit = git("rev-parse", "HEAD")
    return commit and commit + ("-dirty" if _changed() else "")


def _changed() -> bool:
    return bool(git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)dvc.lock"))


def git(*words: str) -> str | None:
    """What a git command prints; None where there is no git, or the command fails."""
    try:
        asked = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None
