"""The two errors that reach a user as one sentence instead of a traceback."""


class CycleGANError(Exception):
    """Something failed that the user can understand and act on; the command exits with 1.

    The message is one sentence: what is wrong, where, and what to do.
    """

    exit_code = 1


class UsageError(CycleGANError):
    """The command, a parameter or a folder was given wrongly; the command exits with 2."""

    exit_code = 2
