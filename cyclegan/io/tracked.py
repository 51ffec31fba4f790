"""What DVC tracks, read from its own files: the next `dvc pull` or `dvc repro` replaces what is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan.errors import UsageError


@dataclass(frozen=True)
class Tracked:
    """A file or folder whose content belongs to DVC."""

    path: Path
    """Absolute."""
    by: Path
    """The `.dvc` file or `dvc.yaml` that names it."""


def tracked_at_or_above(path: Path) -> Tracked | None:
    """What DVC tracks at `path` or above it; None outside a DVC project.

    Covers `*.dvc` files and the outputs of `dvc.yaml` in the folders above `path`, links resolved as well.
    Outputs whose name DVC still has to fill in (`${…}`) are skipped.
    """
    for target in {path.absolute(), path.resolve()}:
        parents = [parent for parent in target.parents if _in_project(parent)]
        for folder in parents:
            for tracked in _tracked_in(folder):
                if target == tracked.path or tracked.path in target.parents:
                    return tracked
    return None


def refuse_tracked(path: Path, *, itself: bool = False) -> None:
    """Raise UsageError if `path` lies below a folder that DVC tracks, or with `itself` is that folder.

    A tracked folder that does not exist yet may be made: that is how new data get into it.
    """
    tracked = tracked_at_or_above(path)
    if tracked is None:
        return
    where, by = _shown(tracked.path), _shown(tracked.by)
    if tracked.path not in {path.absolute(), path.resolve()}:
        raise UsageError(
            f"{path} is inside {where}, which DVC tracks ({by}): `dvc pull` and `dvc repro` would delete "
            "it. Choose a folder elsewhere, such as datasets/NAME or runs/NAME."
        )
    if itself and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(
            f"{where} holds data that DVC tracks ({by}). Choose another folder, such as datasets/NAME; to "
            f"replace the tracked data, remove {where} first and run `dvc add {where}` afterwards."
        )


def _in_project(folder: Path) -> bool:
    return any((above / ".dvc").is_dir() for above in (folder, *folder.parents))


def _tracked_in(folder: Path) -> Iterator[Tracked]:
    for file in sorted(folder.glob("*.dvc")):
        if file.is_file():
            content = _load(file)
            base = folder / str(content.get("wdir") or ".")
            yield from _outputs(content.get("outs"), base, file)
    pipeline = folder / "dvc.yaml"
    if pipeline.is_file():
        stages = _load(pipeline).get("stages")
        for stage in stages.values() if isinstance(stages, dict) else ():
            body = stage.get("do", stage) if isinstance(stage, dict) else {}
            if isinstance(body, dict):
                base = folder / str(body.get("wdir") or ".")
                for kind in ("outs", "metrics", "plots"):
                    yield from _outputs(body.get(kind), base, pipeline)


def _outputs(entries: Any, base: Path, by: Path) -> Iterator[Tracked]:
    for entry in entries if isinstance(entries, list) else ():
        # `path: data`, or `data`, or `data: {cache: false}`
        name = (entry.get("path") or next(iter(entry), None)) if isinstance(entry, dict) else entry
        if isinstance(name, str) and "${" not in name and "://" not in name:
            yield Tracked((base / name).resolve(), by)


def _load(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(file)
    except (OSError, YAMLError, UnicodeDecodeError):
        return {}  # DVC itself will say what is wrong with it
    return content if isinstance(content, dict) else {}


def _shown(path: Path) -> str:
    here = Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
