"""Which pictures are translated, and where their translations go."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cyclegan.errors import UsageError
from cyclegan.inference.media.pictures import WRITTEN, output_name
from cyclegan.io.uri import redact

if TYPE_CHECKING:
    from cyclegan.io.store import Store


def plan(images: str, out: str) -> tuple[Store, list[str], Store, str]:
    """The store and names of the pictures, the store of the translations, and the name of a single one.

    The name is empty where there are several. Raises UsageError where there is no picture, or a translation
    would replace a picture or another translation.
    """
    from cyclegan.data.layout.files import is_image
    from cyclegan.io.storage import open_store

    local = "://" not in images
    if local and Path(images).is_file():
        path = Path(images)
        whole = "://" in out or Path(out).is_dir() or not Path(out).suffix
        target, key = (out, output_name(path.name)) if whole else (str(Path(out).parent), Path(out).name)
        if PurePosixPath(key).suffix.lower() not in WRITTEN:
            raise UsageError(f"Cannot write {key}: its name must end in one of {', '.join(WRITTEN)}.")
        if "://" not in target and (Path(target) / key).resolve() == path.resolve():
            raise UsageError(f"{path} would be replaced by its translation: use another name or folder.")
        return open_store(str(path.parent)), [path.name], open_store(target), key
    if local and not Path(images).is_dir():
        raise UsageError(f"There is no file or folder {redact(images)}.")
    source, target_store = open_store(images), open_store(out)
    if source.uri.rstrip("/") == target_store.uri.rstrip("/") or (
        local and "://" not in out and Path(images).resolve() == Path(out).resolve()
    ):
        raise UsageError(f"The translations would replace the images in {images}: use another folder.")
    names = [entry.key for entry in source.list()]
    inside = _below(images, out)  # translations in a folder below the images are not translated themselves
    found = [name for name in names if is_image(name) and not (inside and name.startswith(inside))]
    if not found:
        raise UsageError(f"There are no images in {redact(images)}.")
    clashes = {output_name(name) for name in found if output_name(name) != name} & set(found)
    if clashes:
        raise UsageError(f"{images}: two images would both be written to {min(clashes)}.")
    return source, found, target_store, ""


def _below(images: str, out: str) -> str:
    """The prefix that keys of `images` have where they are in `out`; empty where `out` is elsewhere."""
    if "://" in images or "://" in out:
        inner, outer = out.rstrip("/"), images.rstrip("/")
        return inner[len(outer) + 1 :] + "/" if inner.startswith(f"{outer}/") else ""
    inside, folder = Path(out).resolve(), Path(images).resolve()
    return f"{inside.relative_to(folder).as_posix()}/" if inside.is_relative_to(folder) else ""
