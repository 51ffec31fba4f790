"""Where commands read and write by default: datasets/NAME, and runs/NAME for what is made of it.

Neither is a folder of the sample, which DVC looks after.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.tracked import refuse_tracked
from cyclegan.io.uri import data_name, in_file_name

if TYPE_CHECKING:
    from cyclegan.data.config import FetchConfig

DATASETS = Path("datasets")
RUNS = Path("runs")


@dataclass(frozen=True)
class RunFolder:
    """A folder for everything that is made of one dataset."""

    path: Path

    @property
    def prepared(self) -> Path:
        """The packed arrays."""
        return self.path / "prepared"

    @property
    def model(self) -> Path:
        """Both generators and their config.json."""
        return self.path / "model"

    @property
    def scores(self) -> Path:
        """What evaluate writes."""
        return self.path / "scores"

    @property
    def registration(self) -> Path:
        """The file in which register writes its verdict."""
        return self.path / "registration.json"

    @property
    def checkpoints(self) -> str:
        """An address, since checkpoints may also be in a bucket."""
        return str(self.path / "checkpoints")

    def arguments(self, **parts: Path) -> list[str | Path]:
        """How the next command is told of this run: its folder, and those of its parts that lie elsewhere."""
        elsewhere = {name: path for name, path in parts.items() if path != getattr(self, name)}
        return [self.path, *(word for name, path in elsewhere.items() for word in (f"--{name}", path))]


def name_of(config: FetchConfig) -> str:
    """What a dataset is called by default: maps, city, photos-paintings."""
    sources = [config.a, config.b] if config.a else [config.source]
    names = [in_file_name(_title(source)) for source in sources]
    return "-".join(names) or "images"


def _title(source: str) -> str:
    name = data_name(source)
    return name if name.strip(".") else Path(source).resolve().name  # `.` stands for a folder that has a name


def dataset_folder(config: FetchConfig) -> Path:
    """Where fetch writes to by default."""
    return DATASETS / name_of(config)


def choose_dataset(*given: Path | None) -> Path:
    """The folder given, else the only one below datasets/; UsageError if that is ambiguous."""
    named = list(dict.fromkeys(folder for folder in given if folder is not None))
    if len(named) > 1:
        raise UsageError(f"Both {named[0]} and {named[1]} are named as the dataset: pass one of them.")
    if named:
        return named[0]
    return _only(
        DATASETS,
        [p for p in _folders(DATASETS) if (p / "trainA").is_dir()],
        none="Name the folder of images, or fetch some first: `cyclegan fetch --a photos/ --b paintings/`.",
        several="name the one to use",
    )


def run_folder(
    folder: Path | None,
    *given: Path | None,
    holding: str,
    missing: str = "the run's folder, such as runs/maps",
) -> RunFolder:
    """The run that a command works on.

    `folder` if named; else that around the first folder in `given` (runs/mine for runs/mine/model); else the
    only one below runs/ with something called `holding` in it. UsageError where there is a choice, or none:
    it says that the user has to name what is `missing`.
    """
    if folder is not None:
        return RunFolder(folder)
    for inside in given:
        if inside is not None:
            return RunFolder(inside.parent)
    advice = {"prepared": "preprocess", "model": "train", "scores": "evaluate"}[holding]
    return RunFolder(
        _only(
            RUNS,
            [p for p in _folders(RUNS) if (p / holding).is_dir()],
            none=f"Name {missing}; `cyclegan {advice}` makes what is needed there.",
            several="name the one to use",
        )
    )


def writable(*paths: Path, file: bool = False) -> None:
    """Raise UsageError for a path below a folder of DVC's, below a file, or for a folder instead of a `file`.

    Raises CycleGANError where the folder above may not be written to.
    """
    for path in paths:
        refuse_tracked(path)
        if file and path.is_dir():
            raise UsageError(f"{path} is a folder: name a file.")
        whole = path.resolve()  # a link to a place that is not there yet is made there
        above = next((p for p in whole.parents if p.exists()), whole)
        if not above.is_dir():
            raise UsageError(f"{above} is a file, so there can be no {path}: name another place.")
        within = [path, above] if path.is_dir() else [above]
        if not any(os.access(folder, os.W_OK | os.X_OK) for folder in within):
            raise CycleGANError(f"Nothing may be written to {above}: choose a different place for {path}.")


def _folders(top: Path) -> list[Path]:
    return sorted(p for p in top.iterdir() if p.is_dir()) if top.is_dir() else []


def _only(top: Path, found: list[Path], *, none: str, several: str) -> Path:
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(none)
    raise UsageError(f"{top} holds {', '.join(p.name for p in found)}: {several}, such as {found[0]}.")
