"""`cyclegan/__init__.py` alone decides the version; what has to repeat it is compared with it here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from cyclegan import __version__

ROOT = Path(__file__).resolve().parents[1]
CODE = ("benchmarks", "components", "cyclegan", "pipeline", "tests", "tools")
SOURCES = (*CODE, ".github", "deploy", "docs", "presets")
MAY_REPEAT = ("deploy/", "docs/", "pipeline/", "CHANGELOG.md", "CITATION.cff")
"""Manifests and compiled pipelines can't look the version up; prose and citations say it to readers."""
LOCK = "requirements.lock"  # third parties' versions


def texts() -> dict[str, str]:
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in SOURCES for path in (ROOT / folder).rglob("*")]
    kinds = {".cff", ".env", ".example", ".md", ".py", ".toml", ".yaml", ".yml", ""}
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in files
        if path.is_file() and path.suffix in kinds and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return texts()


def test_one_file_decides_the_version(sources: dict[str, str]) -> None:
    # in a line about the project: other software can have the same number
    about = r"(?i:cyclegan[-_]pipeline|\bversion|__version__|newTag|\bimage)"
    number = rf"(?<![\d.]){re.escape(__version__)}(?![\d.]*\d)"
    word = re.compile(rf"{about}.*{number}|{number}.*{about}")
    spelled = {name for name, text in sources.items() if name != LOCK and word.search(text)}
    elsewhere = {name for name in spelled if not name.startswith(MAY_REPEAT)}
    assert elsewhere == {"cyclegan/__init__.py"}


def test_every_image_name_carries_the_version(sources: dict[str, str]) -> None:
    tags = {
        (name, tag)
        for name, text in sources.items()
        for tag in re.findall(r"\bcyclegan-pipeline:(\d[\w.-]*)", text)
    }
    assert {name.split("/")[0] for name, _ in tags} >= {"deploy", "pipeline"}
    assert {(name, tag) for name, tag in tags if tag != __version__} == set()


def test_kustomize_overlays_set_the_version() -> None:
    tags = {}
    for file in (ROOT / "deploy").rglob("kustomization.yaml"):
        for image in yaml.safe_load(file.read_text()).get("images", []):
            if image.get("newName", image["name"]).endswith("cyclegan-pipeline"):
                tags[file.parent.name] = image["newTag"]
    assert tags
    assert set(tags.values()) == {__version__}


def test_the_citation_names_the_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


def test_make_names_the_image_by_the_version() -> None:
    make = subprocess.run(["make", "-n", "image"], cwd=ROOT, capture_output=True, text=True, check=True)
    plan = make.stdout
    assert f"-t localhost/cyclegan-pipeline:{__version__} " in plan
    assert f"--build-arg VERSION={__version__} " in plan
