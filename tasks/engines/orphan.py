"""Import first in the process that loads vLLM for us: it ends with the stage, even while it is still importing.

A module of its own, because multiprocessing lets that process do nothing but import.
"""

from tasks.core.stage import die_with_parent

die_with_parent()
