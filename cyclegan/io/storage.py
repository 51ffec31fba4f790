"""Objects in a folder or in an S3 bucket behind one small interface."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import atomic_file
from cyclegan.io.store import Entry, NotFound, Store, checked
from cyclegan.io.uri import redact, reveal


def open_store(uri: str) -> Store:
    """Open a folder's path, file://… or s3://bucket/prefix as a store; nothing is contacted yet.

    Raises UsageError for any other address.
    """
    uri = reveal(uri)
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise UsageError(f"{redact(uri)} is not an address: use a folder or s3://bucket/prefix.") from None
    if parts.scheme == "s3":
        if "@" in parts.netloc or ":" in parts.netloc:
            raise UsageError(
                f"{redact(uri)}: keys do not belong in s3:// addresses; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY."
            )
        if not parts.netloc:
            raise UsageError(f"{redact(uri)} names no bucket: write s3://bucket/prefix.")
        from cyclegan.io.s3 import S3Store

        return S3Store(parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    if "://" in uri or not uri or parts.scheme in {"http", "https"}:  # a slash too few
        raise UsageError(
            f"{redact(uri) or 'An empty address'} is not a store: use a folder or s3://bucket/prefix."
        )
    return FolderStore(Path(uri))


class FolderStore(Store):
    """Objects as files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = str(folder)

    def put(self, path: Path, key: str) -> None:
        with self._failing("write", key), atomic_file(self.folder / checked(key)) as temporary:
            shutil.copyfile(path, temporary)

    def get(self, key: str, path: Path) -> None:
        with self._failing("read", key), atomic_file(path) as temporary:
            shutil.copyfile(self.folder / checked(key), temporary)

    def write(self, key: str, data: bytes) -> None:
        with self._failing("write", key), atomic_file(self.folder / checked(key)) as temporary:
            temporary.write_bytes(data)

    @contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """A temporary path in the same folder, renamed at the end, so that nothing is copied.

        Raises CycleGANError where the file cannot be written.
        """
        try:
            with atomic_file(self.folder / checked(key)) as temporary:
                yield temporary
        except OSError as error:
            raise CycleGANError(f"Cannot write {self.folder / key}: {error.strerror or error}.") from None

    def local(self, key: str) -> Path | None:
        """The file itself."""
        return self.folder / key

    def read(self, key: str) -> bytes:
        with self._failing("read", key):
            return (self.folder / checked(key)).read_bytes()

    def list(self, prefix: str = "") -> list[Entry]:
        found = []
        for path in self.folder.rglob("*"):
            key = path.relative_to(self.folder).as_posix()
            # a dot in front marks what atomic_file is still writing
            if key.startswith(prefix) and path.is_file() and not path.name.startswith("."):
                status = path.stat()
                found.append(Entry(key, status.st_size, str(status.st_mtime_ns)))
        return sorted(found, key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        with self._failing("delete", key):
            (self.folder / checked(key)).unlink(missing_ok=True)

    @contextmanager
    def _failing(self, what: str, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if what != "read":
                raise CycleGANError(f"Cannot {what} {error.filename}: {error.strerror}.") from None
            raise NotFound(f"There is no {self.folder / key}.") from None
        except OSError as error:
            raise CycleGANError(f"Cannot {what} {self.folder / key}: {error.strerror}.") from None
        except ValueError:  # a NUL, or bytes that are not text
            raise UsageError(f"{self.folder / key} cannot be a file's name.") from None
