"""Imported first by the process that loads vLLM for us: it ends with the stage, even while it is still importing."""

from tasks.core.stage import die_with_parent

die_with_parent()
