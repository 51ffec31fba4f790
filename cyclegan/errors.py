"""The two errors that reach a user as one sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class CycleGANError(Exception):
    """Something failed that the user can understand and act on; the command exits with 1.

    The message is one sentence: what is wrong, where, and what to do.
    """

    exit_code = 1

    def __str__(self) -> str:
        """The message on one line, even where it quotes a file's name that holds line breaks."""
        return " ".join(map(str.strip, super().__str__().splitlines()))


class UsageError(CycleGANError):
    """The command was used wrongly: an argument, a parameter or a folder is invalid; it exits with 2."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """The first line of what another library says, at most 200 letters, without its full stop."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200].rstrip(".")


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Within the block running out of memory, on the device or the host, is a CycleGANError with `advice`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch.OutOfMemoryError by its name, since this module must not load torch; on CPUs it has no class.
        said = (type(error).__name__, str(error).lower())
        if isinstance(error, MemoryError) or "OutOfMemoryError" in said or "allocate memory" in said[1]:
            raise CycleGANError(f"Out of memory: {advice}.") from None
        raise
