"""What a step reports to, and what every kind of tracker needs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

KFP_RUN = "kfp_run."
"""Before the id of each pipeline run that had a part in an MLflow run, in a tag's name: several may share
one, since Kubeflow Pipelines answers steps from its cache."""
COMPARED = frozenset(
    {
        "train.batch_size",
        "train.crop_size",
        "train.decay_epochs",
        "train.epochs",
        "train.generator",
        "train.lambda_cycle",
        "train.lambda_identity",
        "train.lr",
        "train.precision",
        "train.seed",
        "evaluate.features",
    }
)
"""Parameters that people compare runs by, shown even where they have their default values."""


class Tracker:
    """What a step reports to. This one keeps nothing; `open_run` gives one that talks to MLflow if it can."""

    run_id: str | None = None
    url: str | None = None  # of the run's page, where the tracking server is one with pages
    page: str = ""  # the same below the server's address, for links within the pages

    def params(self, step: str, values: Any) -> None:
        """Record the fields of a config dataclass, or a mapping, as `<step>.<name>`; nested mappings by dots.

        A parameter that the run already has with the same value is left alone. One with another value keeps
        its first value, since MLflow's parameters are written once; the change becomes tag `changed.<name>`.
        Of a dataclass only fields that differ from their defaults, or are in COMPARED, become parameters; all
        of them are in the artifact config/<step>.json.
        """

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record numbers; returns at once."""

    def image(self, key: str, array: Any, step: int) -> None:
        """Record a picture, uint8 H×W×3; the MLflow UI shows all steps of a key as one slider."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Store a file, or a folder's content, under `folder` of the run's artifacts; returns when stored."""

    def dataset(self, data: Any, context: str = "training") -> None:
        """Record data (Prepared: title, uri, version, domains, height, width, paired) as the run's input."""

    def table(self, file: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Record rows with the same keys as a table artifact; an earlier table of that name is replaced."""

    def describe(self, text: str, pictures: Mapping[str, Any] | None = None) -> None:
        """Set the run's description, in Markdown; `pictures`, uint8 H×W×3, follow its first paragraph.

        They are kept as the artifacts `overview(KEY)`.
        """

    def conclude(self, text: str) -> None:
        """Add Markdown below the run's description, in place of what was added before."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; an earlier value is replaced."""


def overview(direction: str) -> str:
    """The artifact of a run that shows a direction's test images on its page and on those of its versions."""
    return f"overview_{direction}.png"


def artifact_link(run_id: str, path: str) -> str:
    """The address of a run's artifact within the pages of its server, wherever they are."""
    return f"get-artifact?path={quote(path)}&run_uuid={run_id}"


def worth_showing(step: str, values: Any) -> dict[str, str]:
    """What differs from a dataclass's defaults or is in COMPARED, as `flatten`; all of a mapping."""
    flat = flatten(values, step)
    if not dataclasses.is_dataclass(values):
        return flat
    defaults: dict[str, str] = {}
    for entry in dataclasses.fields(values):
        if entry.default is not dataclasses.MISSING:
            defaults |= flatten(entry.default, f"{step}.{entry.name}")
        elif entry.default_factory is not dataclasses.MISSING:
            defaults |= flatten(entry.default_factory(), f"{step}.{entry.name}")
    return {key: text for key, text in flat.items() if key in COMPARED or defaults.get(key) != text}


def git_commit() -> str | None:
    """The commit of the code: GIT_COMMIT if set (as in the image), else that of the package's checkout.

    `-dirty` stands after it where files differ from the commit.
    """
    if commit := os.environ.get("GIT_COMMIT"):
        return commit
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    return None


def flatten(values: Any, prefix: str) -> dict[str, str]:
    """A dataclass or nested mapping as `{"prefix.name": "value"}`; None becomes an empty string."""
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        values = dataclasses.asdict(values)
    if isinstance(values, Mapping):
        flat = [flatten(value, f"{prefix}.{key}") for key, value in values.items()]
        return {name: text for part in flat for name, text in part.items()}
    return {prefix: "" if values is None else str(values)}
