"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _folder_or_skip(variable: str, default: Path, what: str) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no {what} at hand: set {variable} to their folder")
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with maps.zip, monet2photo.zip, … of real images; skips where there is none."""
    return _folder_or_skip("CYCLEGAN_TEST_DATA", ROOT.parent / "shared" / "data", "real images")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder with real Inception and VGG-16 weights; skips where there is none."""
    return _folder_or_skip("CYCLEGAN_TEST_WEIGHTS", ROOT.parent / "shared" / "weights", "real weights")
