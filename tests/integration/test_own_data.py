"""One's own images beside the sample that DVC looks after: neither harms the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cyclegan.data.sample.city import draw_city
from cyclegan.io.files import sha256

Run = Callable[..., str]


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def mine(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of one's own images."""
    draw_city(tmp_path / "drawn", train=8, test=2, size=32, seed=9)
    (tmp_path / "drawn" / "trainA").rename(tmp_path / "photos")
    (tmp_path / "drawn" / "trainB").rename(tmp_path / "paintings")
    return tmp_path / "photos", tmp_path / "paintings"


@pytest.mark.slow
def test_dvc_between_own_runs_loses_nothing(project: Path, run: Run, mine: tuple[Path, Path]) -> None:
    run(project, "cyclegan", "fetch", "--a", mine[0], "--b", mine[1])
    run(project, "cyclegan", "preprocess", "--params", "params.yaml")
    run(project, "cyclegan", "train", "--params", "params.yaml", "--batch-size", "2")
    run(project, "cyclegan", "fetch", "synthetic:city?train=4&test=2&size=32")
    own = [project / "datasets" / "photos-paintings", project / "runs" / "photos-paintings"]
    assert (own[1] / "model" / "AtoB.safetensors").is_file()
    before = [content(folder) for folder in own]
    tracked = (project / "data.dvc").read_text()

    run(project, "dvc", "pull", "data")
    run(project, "dvc", "repro")
    run(project, "dvc", "checkout", "--force")

    assert [content(folder) for folder in own] == before
    assert (project / "data.dvc").read_text() == tracked
    assert run(project, "git", "status", "--porcelain") == "", "neither data nor runs are offered to git"
    assert run(project, "dvc", "status").strip().startswith("Data and pipelines are up to date")


@pytest.mark.parametrize(
    "command",
    [
        ("fetch", "synthetic:city", "--out", "data/mine"),
        ("fetch", "synthetic:city", "--out", "data"),
        ("preprocess", "data", "--out", "data/prepared"),
        ("train", "--prepared", "outputs/prepared", "--model", "outputs/model/mine"),
        ("translate", "outputs/model", "data/testA", "--out", "outputs/prepared/translated"),
        ("run", "--out", "data/run"),
    ],
)
def test_nothing_is_written_into_what_dvc_tracks(project: Path, run: Run, command: tuple[str, ...]) -> None:
    before = content(project / "data") | content(project / "outputs")
    said = run(project, "cyclegan", *command, fails=True)
    assert "DVC tracks" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert content(project / "data") | content(project / "outputs") == before


def test_own_images_may_take_the_samples_place_once_it_is_removed(
    project: Path, run: Run, mine: tuple[Path, Path]
) -> None:
    import shutil

    shutil.rmtree(project / "data")
    run(project, "cyclegan", "fetch", "--a", mine[0], "--b", mine[1], "--out", "data")
    assert len(list((project / "data" / "trainA").iterdir())) == 7
