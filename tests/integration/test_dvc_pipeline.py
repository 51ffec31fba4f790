"""`dvc` and `git` as a user types them, on a copy of the project."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cyclegan.data.version import directory_md5

Run = Callable[..., str]


def stages(said: str) -> list[str]:
    """The stages that a `dvc repro` ran."""
    return re.findall(r"Running stage '(\w+)'", said)


def change(project: Path, old: str, new: str) -> None:
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    assert text.count(old) == 1
    params.write_text(text.replace(old, new), encoding="utf-8")


def test_a_fresh_clone_has_the_sample_without_network_or_configuration(
    clone: Callable[[], Path], run: Run
) -> None:
    project = clone()
    run(project, "dvc", "pull", "data")
    assert (
        directory_md5(project / "data")
        == yaml.safe_load((project / "data.dvc").read_text())["outs"][0]["md5"]
    )
    assert run(project, "git", "status", "--porcelain") == ""


def test_repro_runs_the_steps_and_a_second_repro_nothing(reproduced: Path, run: Run) -> None:
    outputs = reproduced / "outputs"
    assert (outputs / "model" / "AtoB.safetensors").is_file()
    scores = json.loads((outputs / "scores" / "scores.json").read_text())
    assert scores["l1_AtoB"] > 0
    assert (outputs / "scores" / "report.html").is_file()
    assert json.loads((outputs / "registration.json").read_text())["name"] == "cyclegan"
    version = json.loads((outputs / "prepared" / "manifest.json").read_text())["version"]
    assert version == yaml.safe_load((reproduced / "data.dvc").read_text())["outs"][0]["md5"]

    assert stages(run(reproduced, "dvc", "repro")) == []
    assert run(reproduced, "git", "status", "--porcelain") == ""


def test_a_note_of_fetch_beside_the_images_is_no_change_of_them(project: Path, run: Run) -> None:
    (project / "data" / "source.json").write_text("{}")
    assert json.loads(run(project, "dvc", "status", "--json")) == {}


def test_a_parameter_concerns_its_own_step(project: Path, run: Run) -> None:
    change(project, "max_images: 8", "max_images: 12")
    changed = json.loads(run(project, "dvc", "params", "diff", "--json"))
    assert changed == {"params.yaml": {"evaluate.max_images": {"old": 8, "new": 12, "diff": 4}}}
    assert set(json.loads(run(project, "dvc", "status", "--json"))) == {"evaluate"}


@pytest.mark.slow
def test_an_experiment_runs_what_depends_on_its_parameter_and_shows_scores_and_curves(
    project: Path, run: Run
) -> None:
    said = run(project, "dvc", "exp", "run", "--name", "longer", "-S", "train.epochs=2")
    assert stages(said) == ["train", "evaluate", "register"]

    table = list(csv.DictReader(io.StringIO(run(project, "dvc", "exp", "show", "--csv"))))
    (longer,) = (row for row in table if row["Experiment"] == "longer")
    (before,) = (row for row in table if row["rev"] == "main")
    assert (before["train.epochs"], longer["train.epochs"]) == ("1", "2")
    assert float(longer["l1_AtoB"]) != float(before["l1_AtoB"])

    scores = json.loads(run(project, "dvc", "metrics", "diff", "--json"))["outputs/scores/headline.json"]
    assert len(scores) < 10
    assert scores["score"]["old"] != scores["score"]["new"]

    page = re.search(r"file://(\S+)", run(project, "dvc", "plots", "diff", "HEAD", "longer"))
    assert page
    html = Path(page[1]).read_text()
    for curve in ("cycle_A", "identity_B", "adversarial_AtoB", "D_A"):
        assert curve in html
    for picture in ("samples_AtoB.png", "samples_BtoA.png", "losses.svg"):  # of either revision, side by side
        assert html.count(picture) >= 2
    # two revisions' curves on one axis: updates 1 to 5 and 1 to 10
    points = re.findall(r'"step": "?(\d+)"?', html)
    assert max(map(int, points)) == 10
    assert {"HEAD", "longer"} <= set(re.findall(r'"rev": "([^"]+)"', html))
