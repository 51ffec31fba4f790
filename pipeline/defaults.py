"""What a pipeline's parameters are when nobody names them: params.yaml, and the version in data.dvc."""

from __future__ import annotations

import configparser
import json
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from cyclegan.cli.params import config_from, read_params
from cyclegan.data.config import FetchConfig, PreprocessConfig
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
    """The values of a parameter file: `defaults.train.epochs`, and what else a section says as JSON."""

    fetch: FetchConfig
    preprocess: PreprocessConfig
    train: TrainConfig
    evaluate: EvaluateConfig
    register: RegisterConfig
    sections: dict[str, dict[str, Any]]
    version: str
    """Data version that the project tracks where `fetch.source` is the sample, else what the file says."""

    def options(self, step: str, parameters: Collection[str]) -> str:
        """What section `step` says about fields that are no parameters of the pipeline, as a JSON object."""
        rest = {name: value for name, value in self.sections[step].items() if name not in parameters}
        return json.dumps(rest, sort_keys=True)


def read_defaults(params: Path = ROOT / "params.yaml", root: Path = ROOT) -> Defaults:
    """Read a parameter file; raises UsageError where it is wrong.

    Where the file says no more than "the sample", the data are those that the project in `root` tracks: with
    a DVC remote `storage` on S3 they come from there, and without one they are the sample, drawn anew.
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
            configs["fetch"] = replace(configs["fetch"], source=url)
    return Defaults(**configs, sections=sections, version=version)


def check_options(step: str, text: str) -> None:
    """Raise UsageError where a `<step>_options` parameter is no JSON object of that step's fields."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{step}_options is not valid JSON at character {error.pos}: {text}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{step}_options must be a JSON object, such as '{{}}'; it is {text}")
    known = {field.name for field in fields(CONFIGS[step])}
    if unknown := sorted(set(values) - known):
        raise UsageError(f"{step}_options has no field '{unknown[0]}'; there are {', '.join(sorted(known))}.")
    config_from(CONFIGS[step], values, f"{step}_options")


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


def tracked_version(dvc_file: Path = ROOT / "data.dvc") -> str:
    """The data version that `data.dvc` names; empty where the file is missing."""
    import yaml

    if not dvc_file.is_file():
        return ""
    return str(yaml.safe_load(dvc_file.read_text(encoding="utf-8"))["outs"][0]["md5"])
