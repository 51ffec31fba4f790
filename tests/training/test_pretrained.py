"""ImageNet weights come by our own download, checked, and a bad one is not kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cyclegan.errors import CycleGANError
from cyclegan.networks import VggUnet
from cyclegan.training import pretrained


def test_a_download_with_another_hash_is_refused_and_not_kept(tmp_path, monkeypatch) -> None:
    asked = []

    def obtain(url: str, path: Path, *, advice: str) -> None:
        asked.append(url)
        torch.save({"features.0.weight": torch.zeros(1)}, path)

    monkeypatch.setattr(pretrained, "obtain", obtain)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(CycleGANError, match="wrong SHA-256"):
        pretrained.load_encoder([VggUnet()], "imagenet")
    assert asked[0].startswith("https://")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
