"""The `limo` command run in this process: in one of its own each call would spend seconds on starting."""

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import NamedTuple
from unittest import mock

from flows.cli import main


class Done(NamedTuple):
    """How a command ended, as `subprocess.run` tells it."""

    returncode: int
    stdout: str
    stderr: str


def limo(*arguments):
    """Run `limo` with these arguments; what would end in a traceback is raised here."""
    out, err, code = StringIO(), StringIO(), 0
    with mock.patch.object(sys, "argv", ["limo", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return Done(code, out.getvalue(), err.getvalue())
