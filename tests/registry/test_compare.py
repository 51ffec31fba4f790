"""Comparing runs that a real MLflow server holds."""

from __future__ import annotations

import json
import re
import uuid
from types import SimpleNamespace

import numpy as np
import pytest

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.registry.compare import compare
from cyclegan.registry.compared import best_of, certain, not_alike
from cyclegan.registry.config import CompareConfig
from cyclegan.registry.metrics import describe
from cyclegan.registry.results import Measure
from cyclegan.tracking.runs import open_run


@pytest.fixture
def make_run(mlflow_server, tmp_path):
    def make(name, lr, score, version="a" * 32 + ".dir", psnr=20.0, **measure):
        manifest = SimpleNamespace(
            title="city", uri="synthetic:city", version=version, paired=True, height=8, width=8, domains={}
        )
        facts = tmp_path / "evaluation.json"
        facts.write_text(json.dumps({"intervals": {"score": [score - 1, score + 1]}} | measure))
        with open_run("train", name=name) as tracker:
            tracker.params("train", {"lr": lr, "epochs": 7})
            tracker.dataset(manifest)
            tracker.metrics({"loss/G": 9.0, "score": score, "psnr_AtoB": psnr, "l1_AtoB_mean": 1.0})
            for epoch in (2, 10):
                tracker.image("samples/BtoA", np.full((4, 12, 3), 20 * epoch, np.uint8), epoch)
            tracker.artifact(facts, "evaluation")
        return tracker.run_id

    return make


def test_scores_and_pictures_side_by_side(make_run, tmp_path):
    version = uuid.uuid4().hex + ".dir"
    good = make_run("good run", 0.1, 3.25, version)
    bad = make_run("<bad> run", 0.2, 4.5, version, psnr=21.0)
    text = compare([bad, good], tmp_path / "page.html", CompareConfig())
    lines = text.splitlines()
    assert f"<bad> run ({bad[:6]})" in lines[0] and f"good run ({good[:6]})" in lines[0]
    assert re.fullmatch(r"Score +4\.5 +3\.25 \*", lines[1])
    assert re.fullmatch(r"PSNR A → B +21 \* +20", lines[2])
    assert len(lines) == 3

    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/webp;base64,") == 2
    assert "<h2>B → A <small>newest samples" in page
    assert "after epoch 10" in page and "after epoch 2<" not in page
    assert "&lt;bad&gt; run" in page and "<bad>" not in page
    assert "2.250 – 4.250" in page
    assert "★ best of the row." in page and "Green" not in page  # their intervals overlap
    assert "train.lr" in page.split("What differs")[1].split("parameters are the same")[0]
    assert not re.search(r"(src|href)=\"(?!data:|http://127)", page)

    by_data = compare([], tmp_path / "page.html", CompareConfig(data_version=version))
    assert by_data.splitlines()[0].index("good run") < by_data.splitlines()[0].index("<bad> run")
    only = compare(["good run"], tmp_path / "page.html", CompareConfig())
    assert "3.25" in only and "*" not in only


def test_scores_on_different_data_have_no_best(make_run, tmp_path):
    runs = [make_run("one", 0.1, 3.0), make_run("two", 0.1, 4.0, "b" * 32 + ".dir")]
    text = compare(runs, tmp_path / "page.html", CompareConfig())
    assert "do not compare" in text and "*" not in text
    page = (tmp_path / "page.html").read_text()
    assert "do not compare" in page and "best of the row" not in page and "Green" not in page


def test_scores_by_different_measures_are_not_ranked(make_run, tmp_path):
    version = uuid.uuid4().hex + ".dir"
    inception, random = (
        {"extractor": {"name": name, "sha256": name}} for name in ("inception2048", "random")
    )
    whole, few = ({"protocol": {"testA": count, "rounding": "uint8"}} for count in (200, 8))
    good = make_run("good", 0.1, 60.0, version, **inception, **whole)
    make_run("worse", 0.1, 65.0, version, **inception, **whole)
    other = make_run("other features", 0.1, 0.9, version, psnr=19.0, **random, **whole)
    less = make_run("few images", 0.1, 40.0, version, psnr=30.0, **inception, **few)

    def names(*runs):
        text = compare(runs, tmp_path / "page.html", CompareConfig(data_version=version))
        return re.findall(r"\d\. ([a-z ]+) \(", text.split("Score")[0])

    make_run("newer", 0.1, 90.0, version, format=99)
    assert names() == ["good", "worse", "other features", "few images"]
    assert names(less) == ["few images", "good", "worse", "other features"]

    text = compare([good, other], tmp_path / "page.html", CompareConfig())
    assert re.search(r"^Score +60 +0\.9$", text, re.MULTILINE)
    assert re.search(r"^PSNR A → B +20 \* +19$", text, re.MULTILINE)  # which needs no features
    assert text.endswith(
        "different features (inception2048 inception2, random random): their realism does not compare."
    )
    page = (tmp_path / "page.html").read_text()
    assert "different features" in page and not re.search(r'class="(good|bad)-text[^>]*>(60|0\.9)', page)

    text = compare([good, less], tmp_path / "page.html", CompareConfig())
    assert "*" not in text
    assert text.endswith("scored in different ways (testA: 200, 8): their scores do not compare.")


def test_a_run_without_scores_does_not_keep_others_from_being_compared():
    runs = [
        SimpleNamespace(
            scores={"fid_AtoB": value} if value else {}, names={"A": "A", "B": "B"}, measure=measure
        )
        for value, measure in ((3.0, Measure(extractor="x")), (0, Measure()), (2.0, Measure(extractor="x")))
    ]
    assert best_of(describe("fid_AtoB"), runs) == {2}
    assert not_alike(runs) == ""


def test_runs_that_are_not_there(mlflow_server, tmp_path, monkeypatch):
    for runs, message in [(["f" * 32], "no run f"), (["nobody"], "no run called"), ([], "Name the runs")]:
        with pytest.raises(UsageError, match=message):
            compare(runs, tmp_path / "page.html", CompareConfig())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(CycleGANError, match="Cannot reach"):
        compare(["x"], tmp_path / "page.html", CompareConfig())
    assert not (tmp_path / "page.html").exists()


def test_evaluated_runs_show_the_same_test_images_and_what_is_certain(mlflow_server, tmp_path):
    from PIL import Image

    def make(name, score, colour):
        folder = tmp_path / name
        (folder / "samples").mkdir(parents=True)
        files = {kind: f"AtoB-1-{kind}.webp" for kind in ("input", "translation")}
        for kind, file in files.items():
            Image.new("RGB", (8, 8), colour if kind == "translation" else "black").save(
                folder / "samples" / file
            )
        facts = {
            "intervals": {"score": [score - 1, score + 1], "ssim_AtoB": [0.4, 0.6]},
            "names": {"A": "horse", "B": "zebra"},
            "samples": {"AtoB": [{"name": "<i>.png", "row": 0, "files": files}], "BtoA": []},
        }
        (folder / "evaluation.json").write_text(json.dumps(facts))
        (folder / "scores.json").write_text(json.dumps({"score": score, "ssim_AtoB": 0.5, "fid": score}))
        with open_run("train", name=name) as tracker:
            tracker.metrics({"score": score, "images_per_second": 7.0})
            tracker.artifact(folder, "evaluation")
        return tracker.run_id

    text = compare(
        [make("old", 10.0, "red"), make("new", 5.0, "blue")], tmp_path / "page.html", CompareConfig()
    )
    assert "SSIM horse → zebra" in text
    page = (tmp_path / "page.html").read_text()
    shown, scores = page.split("<main>")[1].split("<h2>Scores</h2>")
    assert shown.count('class="pair"') == 2
    assert "data-sync" in shown
    assert "&lt;i&gt;.png" in shown and "<i>.png" not in page
    assert "images_per_second" not in page
    assert "★ best of the row." in page and "Green" in page
    assert re.search(r'class="good-text best"[^>]*>5\.000', scores)
    assert not re.search(r"(good|bad)-text[^>]*>0\.5", scores)  # equal, and the intervals overlap


def test_names_too_long_for_columns_stand_above_the_table(make_run, tmp_path):
    version = uuid.uuid4().hex + ".dir"
    names = [f"resnet city 64x64, {epochs} epochs, seed 0" for epochs in (40, 20, 10)]
    runs = [make_run(name, 0.1, 3.0 + i, version) for i, name in enumerate(names)]
    lines = compare(runs, tmp_path / "page.html", CompareConfig()).splitlines()
    listed = [f"{i}. {name} ({run[:6]})" for i, (name, run) in enumerate(zip(names, runs, strict=True), 1)]
    assert lines[:4] == [*listed, ""]
    assert lines[4].split() == ["1.", "2.", "3."]
    assert max(map(len, lines[4:])) < 60
    page = (tmp_path / "page.html").read_text()
    assert [page.index(f"<span>{i}. {name}</span>") for i, name in enumerate(names, 1)]


def test_only_intervals_apart_from_the_first_runs_are_certain():
    def runs(name):
        ends = ((2.0, 3.0), (3.5, 4.0), (0.5, 1.5), (2.5, 9.0))
        return [
            SimpleNamespace(intervals={name: pair}, scores={name: 1.0}, measure=Measure()) for pair in ends
        ]

    for name, above, below in (("score", "bad", "good"), ("psnr_AtoB", "good", "bad")):
        assert certain(describe(name), runs(name)) == {1: above, 2: below}


def test_runs_of_one_name_are_numbered(make_run, tmp_path):
    version = uuid.uuid4().hex + ".dir"
    runs = [make_run("same", 0.1, score, version) for score in (3.0, 4.0)]
    text = compare(runs, tmp_path / "page.html", CompareConfig())
    assert f"1. same ({runs[0][:6]})" in text and f"2. same ({runs[1][:6]})" in text
    assert "<h1>1. same · 2. same</h1>" in (tmp_path / "page.html").read_text()
