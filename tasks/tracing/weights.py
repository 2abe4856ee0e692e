"""Keeping the weights of registered versions, which the next training would replace."""

import os
import shutil
from pathlib import Path

from tasks.errors import LimoError
from tasks.records.model import Model


def keep(model: Model, artifacts: Path) -> Path:
    """The model's files under a name of its own, `artifacts/models/<model_id>`, as hard links: no second copy.

    Raises:
        LimoError: the model's folder has gone.
    """
    kept = artifacts / "models" / model.model_id
    if kept.is_dir():
        return kept
    if not Path(model.path).is_dir():
        raise LimoError(f"{model.path}: the trained model's folder has gone; run `dvc checkout artifacts/train/model`")
    scratch = kept.with_name(f".{kept.name}.{os.getpid()}")
    shutil.copytree(model.path, scratch, copy_function=os.link)
    scratch.rename(kept)
    return kept
