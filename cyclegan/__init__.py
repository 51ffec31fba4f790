"""CycleGAN as a pipeline: fetch, preprocess, train, evaluate, register; and `load` to use a model.

    from cyclegan import load
    load("outputs/model")(picture)

Names are imported when they are first used, so that `import cyclegan` costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
"""The one place that says the version: pyproject.toml, the Makefile and `components` read it here."""

_HOMES = {
    "FetchConfig": "cyclegan.data.config",
    "fetch": "cyclegan.data.fetch.fetch",
    "PreprocessConfig": "cyclegan.data.config",
    "preprocess": "cyclegan.data.preprocess.preprocess",
    "TrainConfig": "cyclegan.training.config",
    "train": "cyclegan.training.train",
    "EvaluateConfig": "cyclegan.evaluation.config",
    "evaluate": "cyclegan.evaluation.evaluate",
    "RegisterConfig": "cyclegan.registry.config",
    "register": "cyclegan.registry.register",
    "load": "cyclegan.inference.translator",
    "CycleGANError": "cyclegan.errors",
    "UsageError": "cyclegan.errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cyclegan' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
