"""Which paths belong to DVC, read from its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cyclegan.errors import UsageError
from cyclegan.io.tracked import refuse_tracked, tracked_at_or_above


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "data.dvc").write_text("outs:\n- md5: 0123.dir\n  path: data\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  train:\n    cmd: x\n    outs:\n    - outputs/model\n    metrics:\n    - m.json: {cache: false}\n"
        "  deep:\n    wdir: sub\n    cmd: x\n    outs: [made]\n"
        "  each:\n    foreach: [a]\n    do:\n      cmd: x\n      outs: ['${item}', all]\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("path", "tracked", "by"),
    [
        ("data", "data", "data.dvc"),
        ("data/mine", "data", "data.dvc"),
        ("data/deep/er", "data", "data.dvc"),
        ("outputs/model/x", "outputs/model", "dvc.yaml"),
        ("m.json", "m.json", "dvc.yaml"),
        ("sub/made/x", "sub/made", "dvc.yaml"),
        ("all/x", "all", "dvc.yaml"),
    ],
)
def test_what_dvc_tracks_is_found(project: Path, path: str, tracked: str, by: str) -> None:
    found = tracked_at_or_above(project / path)
    assert found
    assert (found.path, found.by) == (project / tracked, project / by)


@pytest.mark.parametrize("path", ["datasets/mine", "runs/x", "database", "outputs", "outputs/models", "made"])
def test_its_neighbours_are_free(project: Path, path: str) -> None:
    assert tracked_at_or_above(project / path) is None


def test_a_link_into_a_tracked_folder_is_seen_through(project: Path) -> None:
    (project / "data").mkdir()
    (project / "easy").symlink_to("data")
    with pytest.raises(UsageError, match=r"inside .*data, which DVC tracks"):
        refuse_tracked(project / "easy" / "mine")


def test_without_a_dvc_project_nothing_is_tracked(tmp_path: Path) -> None:
    (tmp_path / "data.dvc").write_text("outs:\n- path: data\n")
    assert tracked_at_or_above(tmp_path / "data" / "x") is None


def test_a_broken_file_of_dvcs_is_dvcs_affair(project: Path) -> None:
    (project / "data.dvc").write_text("outs: [")
    (project / "dvc.yaml").write_text("- 1\n")
    assert tracked_at_or_above(project / "data" / "x") is None


def test_the_tracked_folder_itself_may_be_made_but_not_replaced(project: Path) -> None:
    refuse_tracked(project / "data", itself=True)
    (project / "data").mkdir()
    refuse_tracked(project / "data", itself=True)
    (project / "data" / "a.png").touch()
    refuse_tracked(project / "data")
    with pytest.raises(UsageError, match="dvc add"):
        refuse_tracked(project / "data", itself=True)
