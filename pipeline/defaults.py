"""What a pipeline's parameters are when nobody names them: params.yaml, and the version in data.dvc."""

from __future__ import annotations

import configparser
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cyclegan.cli.params import config_from, read_params
from cyclegan.data.config import FetchConfig, PreprocessConfig
from cyclegan.data.fetch.published import lists_files, version_named_by
from cyclegan.errors import UsageError
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.registry.config import RegisterConfig
from cyclegan.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = "synthetic:city"
REMOTE = "storage"
CONFIGS: dict[str, type] = {
    "fetch": FetchConfig,
    "preprocess": PreprocessConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "register": RegisterConfig,
}


@dataclass(frozen=True)
class Defaults:
    """The values of a parameter file: `defaults.train.epochs`, and the sections as they were read."""

    fetch: FetchConfig
    preprocess: PreprocessConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    register: RegisterConfig
    sections: dict[str, dict[str, Any]]
    version: str
    """Data version that the project tracks where `fetch.source` is the sample, else what the file says."""

    def options(self, step: str, parameters: Collection[str]) -> dict[str, Any]:
        """What section `step` says about fields that are not parameters of the pipeline."""
        rest = self.sections[step].items()
        return {name: value for name, value in sorted(rest) if name not in parameters}


def read_defaults(params: Path = ROOT / "params.yaml", root: Path = ROOT) -> Defaults:
    """Read a parameter file; raises UsageError where it is wrong.

    Where the file says no more than "the sample", the data are those that the project in `root` tracks: with
    a DVC remote `storage` on S3 they come from there, and without one they are the sample, drawn again.
    """
    sections = read_params(params)
    if unknown := sorted(set(sections) - set(CONFIGS)):
        raise UsageError(f"{params} has no step '{unknown[0]}': the sections are {', '.join(CONFIGS)}.")
    sections = {step: sections.get(step, {}) for step in CONFIGS}
    configs: dict[str, Any] = {
        step: config_from(config, sections[step], f"Section '{step}' of {params}")
        for step, config in CONFIGS.items()
    }
    version = sections["fetch"].get("version", "")
    if not version and configs["fetch"].source == SAMPLE:
        version = tracked_version(root / "data.dvc")
        if (url := storage(root)).startswith("s3://") and version:
            configs["fetch"] = replace(configs["fetch"], source=tracked_source(url, root / "data.dvc"))
    return Defaults(**configs, sections=sections, version=version)


def storage(root: Path = ROOT) -> str:
    """Address of the DVC remote `storage`; empty where none is configured. Credentials are never read."""
    url = ""
    for name in ("config", "config.local"):
        config = configparser.ConfigParser(interpolation=None)
        config.read(root / ".dvc" / name, encoding="utf-8")
        for section in config.sections():
            if section.strip("'") == f'remote "{REMOTE}"':
                url = config[section].get("url", url)
    return url.rstrip("/")


def tracked_source(url: str, dvc_file: Path = ROOT / "data.dvc") -> str:
    """The address of the tracked data in the remote at `url`.

    A cloud-versioned remote holds files under their own names, below the folder's; DVC then lists them in
    `data.dvc`.
    """
    text = dvc_file.read_text(encoding="utf-8")
    return f"{url}/{dvc_file.stem}" if lists_files(text) else url


def tracked_version(dvc_file: Path = ROOT / "data.dvc") -> str:
    """The data version that `data.dvc` names; empty where the file is missing.

    Raises UsageError where the file has none.
    """
    if not dvc_file.is_file():
        return ""
    try:
        return version_named_by(dvc_file.read_text(encoding="utf-8"))
    except ValueError:
        raise UsageError(f"{dvc_file} names no data version: run `dvc add data` again.") from None
