"""Images versioned by a team: one adds and pushes, another clones and pulls, by a folder and by S3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from cyclegan.data.config import FetchConfig
from cyclegan.data.fetch.fetch import fetch
from cyclegan.data.sample.city import draw_city
from cyclegan.data.version import directory_md5

Run = Callable[..., str]


def version(project: Path) -> str:
    (tracked,) = yaml.safe_load((project / "data.dvc").read_text())["outs"]
    return str(tracked["md5"])


def add(project: Path, run: Run, message: str) -> str:
    """What docs/data-versioning.md tells to type after images changed; returns the new version."""
    run(project, "dvc", "add", "data")
    run(project, "git", "commit", "-q", "-m", message, ".dvc/config", "data.dvc")
    run(project, "dvc", "push", "data")
    return version(project)


def configure(project: Path, run: Run, url: str) -> None:
    run(project, "dvc", "remote", "add", "--default", "storage", url)


def clone_of(project: Path, folder: Path, run: Run) -> Path:
    run(folder.parent, "git", "clone", "-q", project, folder)
    run(folder, "dvc", "pull", "data")
    return folder


@pytest.mark.slow
def test_a_team_shares_versions_by_s3(
    clone: Callable[[], Path], run: Run, tmp_path: Path, s3_bucket: str
) -> None:
    mine = clone()
    url = f"s3://{s3_bucket}/images"
    configure(mine, run, url)
    draw_city(mine / "data", train=6, test=3, size=32, seed=5)
    first = add(mine, run, "Our own images")
    assert first == directory_md5(mine / "data")

    theirs = clone_of(mine, tmp_path / "theirs", run)
    assert directory_md5(theirs / "data") == first

    # one image goes, one comes, one changes
    (mine / "data" / "trainA" / "0000.png").unlink()
    Image.new("RGB", (32, 32), "red").save(mine / "data" / "trainB" / "red.png")
    Image.new("RGB", (32, 32), "blue").save(mine / "data" / "testA" / "0012.png")
    difference = json.loads(run(mine, "dvc", "diff", "--json", "--targets", "data"))
    names = {kind: [entry["path"] for entry in difference[kind]] for kind in ("added", "deleted", "modified")}
    assert names == {
        "added": ["data/trainB/red.png"],
        "deleted": ["data/trainA/0000.png"],
        "modified": ["data/", "data/testA/0012.png"],
    }
    second = add(mine, run, "Better images")

    run(theirs, "git", "pull", "-q")
    run(theirs, "dvc", "pull", "data")
    assert directory_md5(theirs / "data") == second != first

    # either version by address and hash alone, as a Kubeflow task gets it
    for wanted in (first, second):
        assert fetch(tmp_path / wanted, FetchConfig(source=url, version=wanted)).version == wanted

    # the pipeline's default follows when it is compiled anew, and a submitted run takes both from the project
    run(theirs, "python", "-m", "pipeline", "compile", "--out", tmp_path / "compiled")
    assert second in (tmp_path / "compiled" / "cyclegan.yaml").read_text()
    asked = (
        "from pipeline.client.submitting import from_storage; import json; print(json.dumps(from_storage()))"
    )
    arguments = json.loads(run(theirs, "python", "-c", asked))
    assert (arguments["data_source"], arguments["data_version"]) == (url, second)


def test_a_team_shares_versions_by_a_folder(clone: Callable[[], Path], run: Run, tmp_path: Path) -> None:
    mine = clone()
    configure(mine, run, str(tmp_path / "shared"))
    draw_city(mine / "data", train=2, test=1, size=32, seed=5)
    first = add(mine, run, "Our own images")
    assert directory_md5(clone_of(mine, tmp_path / "theirs", run) / "data") == first
    assert run(mine, "git", "status", "--porcelain") == "", (
        "the store of the sample must hold the sample alone"
    )
    assert (
        fetch(tmp_path / "got", FetchConfig(source=str(tmp_path / "shared"), version=first)).version == first
    )
