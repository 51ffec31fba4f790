"""Small models with scores, as train and evaluate write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VERSION = "0123456789abcdef0123456789abcdef.dir"


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """`make_model(seed, score)` -> model folder, scores folder."""
    import torch

    from cyclegan.model import DIRECTIONS, save_model, weights_digest
    from cyclegan.networks import build_generator

    def make(
        seed: int = 0,
        score: float = 5.0,
        *,
        version: str = VERSION,
        generator: dict[str, Any] | None = None,
        run_id: str | None = None,
    ) -> tuple[Path, Path]:
        options = generator or {"name": "resnet", "blocks": 1, "width": 4}
        torch.manual_seed(seed)
        config = {
            "generator": options,
            "image_size": 32,
            "epochs": 2,
            "seed": seed,
            "data": {"uri": "synthetic:city", "version": version, "paired": True},
            "train": {"lr": 2e-4, "seed": seed},
            "git_commit": "abc123",
            "mlflow_run_id": run_id,
        }
        model, scores = tmp_path / f"model{seed}", tmp_path / f"scores{seed}"
        save_model(model, {direction: build_generator(**options) for direction in DIRECTIONS}, config)
        scores.mkdir(exist_ok=True)
        values = {
            "score": score,
            "fid": score,
            "fid_AtoB": score - 1,
            "fid_BtoA": score + 1,
            "cycle_l1_A": 0.25,
        }
        facts = {
            "headline": "fid",
            "lower_is_better": True,
            "extractor": {"name": "inception2048", "features": 2048, "sha256": "abc"},
            "protocol": {"testA": 4},
            "data_version": version,
            "model_digest": weights_digest(model),
            "intervals": {"fid": [score - 0.5, score + 0.5]},
        }
        (scores / "scores.json").write_text(json.dumps(values))
        (scores / "evaluation.json").write_text(json.dumps(facts))
        return model, scores

    return make
