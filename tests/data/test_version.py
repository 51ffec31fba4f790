from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cyclegan.data.version import directory_md5
from cyclegan.errors import UsageError


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


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        directory_md5(tmp_path / "absent")
