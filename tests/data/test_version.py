from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cyclegan.data.layout.files import list_files
from cyclegan.data.version import directory_md5, versioned_files
from cyclegan.errors import UsageError
from cyclegan.io.files import LITTER


def test_it_is_the_version_that_dvc_gives(tmp_path: Path, make_tree: Callable[..., Path]) -> None:
    names = ["z.png", "Ä umlaut.png", "a b.png", "10.png", "1.png", "sub/1.png"]
    data = make_tree(tmp_path / "repo" / "data", {"trainA": names, "trainB": 2, "testA": 1, "testB": 1})
    (data / "notes.txt").write_text("a\r\nb")

    script = "from dvc.repo import Repo; Repo.init('.', no_scm=True).add('data')"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "repo", check=True, capture_output=True)
    recorded = yaml.safe_load((tmp_path / "repo" / "data.dvc").read_text())
    assert directory_md5(data) == recorded["outs"][0]["md5"]


def test_content_and_names_decide_and_source_json_does_not(
    tmp_path: Path, make_tree: Callable[..., Path]
) -> None:
    data = make_tree(tmp_path / "data")
    version = directory_md5(data)
    (data / "source.json").write_text("{}")
    assert directory_md5(data) == version
    (data / "trainA" / "0.png").rename(data / "trainA" / "00.png")
    renamed = directory_md5(data)
    assert renamed != version
    (data / "trainA" / "00.png").write_bytes(b"x")
    assert directory_md5(data) not in {version, renamed}


def test_what_dvcignore_names_is_left_out_as_dvc_does(tmp_path: Path, make_tree: Callable[..., Path]) -> None:
    """Patterns of every kind, above the folder and beside it, and the version that DVC gives."""
    repo = tmp_path / "repo"
    data = make_tree(repo / "sets" / "data")
    for name in (
        *(".DS_Store", "trainA/.DS_Store", "trainA/a.tmp", "trainA/keep.tmp", "skip/b.txt", "skip/keep.tmp"),
        *("trainB/skip/c.txt", "x/only/d.txt", "only/e.txt", "[odd].txt", "back.log", "sub/back.log"),
    ):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    (repo / ".dvcignore").write_text(
        "# comment\n\n.DS_Store\n*.tmp\n!keep.tmp\nskip/\n/sets/data/only\n*.log\n"
    )
    (repo / "sets" / ".dvcignore").write_text("!/data/back.log\n/only/\n")

    script = "from dvc.repo import Repo; Repo.init('.', no_scm=True).add('sets/data')"
    subprocess.run([sys.executable, "-c", script], cwd=repo, check=True, capture_output=True)
    recorded = yaml.safe_load((repo / "sets" / "data.dvc").read_text())["outs"][0]
    assert len(versioned_files(data)) == recorded["nfiles"] < len(list_files(data))
    assert directory_md5(data) == recorded["md5"]
    assert {"trainA/keep.tmp", "back.log", "x/only/d.txt"} < set(versioned_files(data))


def test_what_a_file_manager_leaves_behind_changes_no_version(
    tmp_path: Path, make_tree: Callable[..., Path]
) -> None:
    data = make_tree(tmp_path / "data")
    version = directory_md5(data)
    (data / "trainA" / ".DS_Store").write_bytes(b"x")
    (data / "Thumbs.db").write_bytes(b"x")
    assert directory_md5(data) == version
    (tmp_path / ".dvc").mkdir()  # in a project DVC's rules are the rules
    assert directory_md5(data) != version
    (tmp_path / ".dvcignore").write_text("/.DS_Store\n/data/**/.DS_Store\nThumbs.db\n")
    assert directory_md5(data) == version
    # where a folder is going to be decides, not where it is written
    (tmp_path / ".dvcignore").write_text("/there/**/.DS_Store\nThumbs.db\n")
    assert directory_md5(data, at=tmp_path / "there") == version != directory_md5(data)


@pytest.mark.parametrize("file", [".dvcignore", "cyclegan/cli/project/dvcignore"])
def test_the_projects_own_rules_name_that_litter(file: str) -> None:
    lines = (Path(__file__).resolve().parents[2] / file).read_text(encoding="utf-8").splitlines()
    assert set(lines) >= LITTER


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        directory_md5(tmp_path / "absent")
