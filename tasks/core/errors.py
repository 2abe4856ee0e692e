"""The one error a user is meant to read."""


class LimoError(Exception):
    """Something the user can mend: one line that names the file, row or key, and what to do.

    Command lines print it without a traceback and exit with 2; any other exception is a bug and keeps its traceback.
    """
