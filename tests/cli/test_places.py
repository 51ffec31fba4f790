"""Where commands write by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from cyclegan.cli.places import name_of
from cyclegan.data.config import FetchConfig


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"source": "maps"}, "maps"),
        ({"source": "synthetic:city?size=64"}, "city"),
        ({"source": "."}, "photos"),
        ({"source": "./"}, "photos"),
        ({"source": "sub/.."}, "photos"),
        ({"source": "/"}, "images"),
        ({"a": ".", "b": "../paintings"}, "photos-paintings"),
        ({"a": "../paintings/.", "b": "."}, "paintings-photos"),
    ],
)
def test_a_dataset_is_called_after_its_source(
    given: dict[str, str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "photos")
    assert name_of(FetchConfig(**given)) == name  # type: ignore[arg-type]
