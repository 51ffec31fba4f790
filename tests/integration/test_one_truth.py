"""The same data version, parameters and seed give the same weights by the command line, DVC and Kubeflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cyclegan.io.files import sha256

Run = Callable[..., str]


def weights(model: Path) -> dict[str, str]:
    return {name: sha256(model / f"{name}.safetensors") for name in ("AtoB", "BtoA")}


def data_version(model: Path) -> str:
    return str(json.loads((model / "config.json").read_text())["data"]["version"])


@pytest.mark.slow
def test_three_executors_one_model(
    clone: Callable[[], Path], reproduced: Path, run: Run, tmp_path: Path
) -> None:
    by_hand = clone()
    run(by_hand, "cyclegan", "fetch", "synthetic:city")
    run(by_hand, "cyclegan", "preprocess", "--params", "params.yaml")
    run(by_hand, "cyclegan", "train", "--params", "params.yaml")

    in_kubeflow = clone()
    run(in_kubeflow, "python", "-m", "pipeline", "compile", "--out", tmp_path)
    run(in_kubeflow, "python", "-m", "pipeline", "run", "--file", tmp_path / "cyclegan.yaml")
    (model,) = in_kubeflow.glob("outputs/kfp/**/train/model")

    models = [by_hand / "runs" / "city" / "model", reproduced / "outputs" / "model", model]
    (tracked,) = yaml.safe_load((reproduced / "data.dvc").read_text())["outs"]
    assert {data_version(folder) for folder in models} == {tracked["md5"]}
    first, *others = [weights(folder) for folder in models]
    assert others == [first, first]
