"""What every store of objects is, whether a folder or a bucket."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cyclegan.errors import CycleGANError, UsageError


class NotFound(CycleGANError):
    """There is no object of this key."""


@dataclass(frozen=True)
class Entry:
    """One object: its key below the store's address, and its size in bytes."""

    key: str
    size: int
    mark: str = field(default="", compare=False)
    """Another one when the content is: the ETag in a bucket, the time of the last change in a folder."""


class Store(ABC):
    """Objects by key. Keys are relative POSIX paths; every failure is a CycleGANError of one sentence."""

    uri: str

    @abstractmethod
    def put(self, path: Path, key: str) -> None:
        """Store the file `path` under `key`, replacing an existing object atomically."""

    @abstractmethod
    def get(self, key: str, path: Path) -> None:
        """Write the object to `path`, atomically, its size and checksum verified. Raises NotFound."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Store bytes under `key`."""

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """A path to write a file to, which is stored under `key` once the block ends without an error."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "object"
            yield path
            self.put(path, key)

    def local(self, key: str) -> Path | None:
        """The file that holds the object, where it is on this machine."""
        return None

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The object's bytes, verified. Raises NotFound."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[Entry]:
        """All objects whose key begins with `prefix`, by key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; removing what is not there is no error."""


def checked(key: str) -> str:
    """The key; raises UsageError where it is empty or could lead out of its store."""
    if not key or key.startswith("/") or ".." in key.split("/") or "\0" in key:
        raise UsageError(f"'{key}' cannot be an object's key: it must be a relative path.")
    return key
