"""What a user can do wrong, said in one sentence."""


class LeopartError(Exception):
    """A problem the user can solve: the message names the thing, what is wrong and what to do.

    Commands print the message without a traceback and exit with status 2.
    """


class PhotoError(LeopartError):
    """One photo cannot be used; the rest of the folder goes on (exit status 1)."""
