"""Which files of a data folder DVC would not see: those that `.dvcignore` names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cyclegan.io.files import LITTER

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".dvcignore"
ALWAYS = (".git", ".hg/", ".dvc/")
"""What DVC ignores unasked."""


def ignoring(folder: Path) -> Callable[[str], bool]:
    """Whether the version of `folder` leaves a file out, given as POSIX path relative to it.

    In a DVC project its `.dvcignore` files decide, from the project's root down to the folder (DVC refuses
    one inside of tracked data); elsewhere what file managers leave behind is ignored.
    """
    folder = folder.absolute()
    above = [folder, *folder.parents]
    depth = next((i for i, one in enumerate(above) if (one / ".dvc").is_dir()), None)
    if depth is None:
        return lambda name: PurePosixPath(name).name in LITTER
    specs = list(_specs(above[depth::-1]))
    inside = folder.relative_to(above[depth]).parts

    def ignored(name: str) -> bool:
        parts = [*inside, *PurePosixPath(name).parts]
        # as in git, nothing below an ignored folder can be taken back
        return any(
            _decision(specs, parts[:length], length < len(parts)) for length in range(1, len(parts) + 1)
        )

    return ignored


def _specs(folders: list[Path]) -> Iterator[tuple[int, GitIgnoreSpec]]:
    """The patterns of each folder, from the root down, with the folder's depth below the root."""
    from pathspec import GitIgnoreSpec

    yield 0, GitIgnoreSpec.from_lines(ALWAYS)
    for depth, folder in enumerate(folders):
        file = folder / IGNORE_FILE
        if file.is_file():
            yield depth, GitIgnoreSpec.from_lines(file.read_text(encoding="utf-8").splitlines())


def _decision(specs: list[tuple[int, GitIgnoreSpec]], parts: list[str], is_folder: bool) -> bool:
    """What the last pattern that knows this path says."""
    result = False
    for depth, spec in specs:
        if depth < len(parts):
            found = spec.check_file("/".join(parts[depth:]) + "/" * is_folder).include
            result = result if found is None else found
    return result
