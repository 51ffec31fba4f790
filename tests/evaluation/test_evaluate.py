from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cyclegan.data.prepared import Prepared, write_provenance
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation import monitor as monitoring
from cyclegan.evaluation import result
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.evaluation.distances import frechet_distance, kernel_distance
from cyclegan.evaluation.evaluate import evaluate
from cyclegan.evaluation.extractors.features import Extractor, load_extractor
from cyclegan.evaluation.measure import measure
from cyclegan.evaluation.monitor import Monitor
from cyclegan.evaluation.pages.report import write_per_image
from cyclegan.evaluation.pages.samples import spread
from cyclegan.evaluation.pages.verdict import Verdict, verdict
from cyclegan.evaluation.result import Evaluation
from cyclegan.evaluation.translations import ENDS
from cyclegan.io.files import read_json, write_json
from cyclegan.io.pages.page import number
from cyclegan.model import Model
from cyclegan.networks import Generator
from cyclegan.registry.results import FORMAT
from cyclegan.tracking.base import Tracker

Make = Callable[..., Path]


def fast(**fields: Any) -> EvaluateConfig:
    return EvaluateConfig(
        **({"features": "random", "resamples": 20, "examples": 6, "device": "cpu"} | fields)
    )


class Same(Generator):
    """Gives back what it gets."""

    multiple = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Constant(Same):
    """Gives the same picture for everything: uint8 H×W×3."""

    def __init__(self, image: np.ndarray) -> None:
        super().__init__()
        self.image = torch.tensor(image).permute(2, 0, 1).float() / 127.5 - 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.image.expand(len(x), -1, -1, -1)


def judge(prepared: Path, AtoB: nn.Module, BtoA: nn.Module, **fields: Any) -> Evaluation:
    model = Model(AtoB, BtoA, {})
    return measure(Prepared.open(prepared), model, fast(**fields), torch.device("cpu"))


def test_writes_scores_that_other_steps_can_use(
    make_prepared: Make, make_model: Make, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    scores = evaluate(make_prepared(), make_model(), out, fast())
    assert {file.name for file in out.iterdir()} == {
        "scores.json",
        "evaluation.json",
        "per_image.csv",
        "report.html",
        "headline.json",
        "samples",
        "plots",
    }
    assert read_json(out / "scores.json") == scores
    assert all(isinstance(v, float) and math.isfinite(v) for v in scores.values())
    details = read_json(out / "evaluation.json")
    assert details["format"] == FORMAT
    assert scores["score"] == scores[details["headline"]]
    assert scores["score"] == pytest.approx(
        (scores["frechet_random_AtoB"] + scores["frechet_random_BtoA"]) / 2
    )
    assert details["lower_is_better"] is True
    assert details["data_version"] == Prepared.open(tmp_path / "prepared").version
    assert details["extractor"]["name"] == "random"
    assert set(details["intervals"]) <= set(scores)
    for name, (low, high) in details["intervals"].items():
        assert low <= scores[name] <= high, name
    kinds = ("frechet_random", "kernel_random", "precision_random", "recall_random", "nearest_train")
    pairs = ("l1", "psnr", "ssim", "map_accuracy", "l1_{}_input", "l1_{}_mean")
    both = [name if "{}" in name else f"{name}_{{}}" for name in (*kinds, *pairs, "kernel_random_{}_se")]
    expected = {name.format(direction) for name in both for direction in ("AtoB", "BtoA")}
    expected |= {f"{name}_{end}" for name in ("cycle_l1", "identity_l1", "nearest_train") for end in "AB"}
    baselines = {"frechet_random_input", "kernel_random_input"}
    assert scores.keys() == expected | baselines | {"score", "frechet_random"}
    with (out / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    l1 = [float(row["l1"]) for row in rows if row["direction"] == "AtoB"]
    assert np.mean(l1) == pytest.approx(scores["l1_AtoB"], rel=1e-4)
    error = 1.96 * np.std(l1, ddof=1) / len(l1) ** 0.5
    expected_ends = (np.mean(l1) - error, np.mean(l1) + error)
    assert details["intervals"]["l1_AtoB"] == pytest.approx(expected_ends, rel=1e-3)


def test_two_test_images_beside_three_are_reported_without_an_influence(
    make_prepared: Make, make_model: Make, tmp_path: Path
) -> None:
    prepared = make_prepared(test_a=2, test_b=3, paired=False)
    evaluate(prepared, make_model(), tmp_path / "scores", fast(resamples=0))
    with (tmp_path / "scores" / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["direction"], bool(row["influence"])) for row in rows} == {("AtoB", False), ("BtoA", True)}


def test_scores_go_where_a_link_leads(make_prepared: Make, make_model: Make, tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "scores").symlink_to("large disk")
    evaluate(make_prepared(), make_model(), tmp_path / "scores", fast(resamples=0))
    assert (tmp_path / "scores").is_symlink()
    assert (tmp_path / "large disk" / "report.html").is_file()


def test_a_name_that_spreadsheets_would_compute_is_text_in_the_table(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0.png", "+1.png", "-2.png", "@sum.png", " =1.png", "\t=1.png", "\n=1.png"]
    images = SimpleNamespace(names=[*names, 'plain, "quoted".png'])
    values = {"AtoB": {"l1": np.zeros(len(images.names))}}
    write_per_image(tmp_path / "table.csv", SimpleNamespace(per_image=values, sets={"A": images}))  # type: ignore[arg-type]
    with (tmp_path / "table.csv").open(newline="") as file:
        written = [row["image"] for row in csv.DictReader(file)]
    assert written == [*(f"'{name}" for name in names), images.names[-1]]


def test_random_features_are_called_fid_nowhere(
    make_prepared: Make, make_model: Make, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    evaluate(make_prepared(), make_model(), out, fast())
    assert not [n for n in read_json(out / "scores.json") if re.search("fid|kid|inception", n)]
    prose = re.sub(r"data:image[^\"]*", "", (out / "report.html").read_text())
    prose = prose.replace("are not FID or KID", "")
    assert not re.search(r"\b(fid|kid)\b", prose, re.IGNORECASE)


def test_partial_inception_carries_its_name(
    make_prepared: Make, make_model: Make, tmp_path: Path, inception_file: Path
) -> None:
    config = fast(features="inception64", weights=str(inception_file))
    scores = evaluate(make_prepared(test_a=4, test_b=4), make_model(), tmp_path / "scores", config)
    distances = [n for n in scores if re.match("fid|kid|frechet|kernel|precision|recall", n)]
    assert distances
    assert all("inception64" in name for name in distances)
    details = read_json(tmp_path / "scores" / "evaluation.json")
    assert details["headline"] == "frechet_inception64"
    assert details["extractor"]["sha256"].startswith("c19de925")
    assert any("4 test images for 64 feature dimensions" in note for note in details["notes"])


def test_the_same_again_gives_the_same_scores(make_prepared: Make, make_model: Make, tmp_path: Path) -> None:
    prepared, model = make_prepared(), make_model()
    first = evaluate(prepared, model, tmp_path / "a", fast())
    second = evaluate(prepared, model, tmp_path / "b", fast())  # with the real features from the cache
    assert first == second
    intervals = [read_json(tmp_path / name / "evaluation.json")["intervals"] for name in "ab"]
    assert intervals[0] == intervals[1]


def test_generators_that_do_nothing_score_as_the_baseline(make_prepared: Make) -> None:
    e = judge(make_prepared(), Same(), Same())
    for direction in ("AtoB", "BtoA"):
        assert e.scores[f"frechet_random_{direction}"] == pytest.approx(e.scores["frechet_random_input"])
        assert e.scores[f"l1_{direction}"] == pytest.approx(e.scores[f"l1_{direction}_input"])
    for end in "AB":
        assert e.scores[f"cycle_l1_{end}"] == 0
        assert e.scores[f"identity_l1_{end}"] == 0
        assert e.scores[f"nearest_train_{end}"] > 0


def test_a_perfect_translation_scores_perfectly(make_prepared: Make) -> None:
    prepared = make_prepared()
    np.save(prepared / "testB.npy", np.load(prepared / "testA.npy"))  # now the truth is the input itself
    e = judge(prepared, Same(), Same())
    assert e.scores["score"] == pytest.approx(0, abs=1e-6)
    assert e.scores["l1_AtoB"] == 0
    assert e.scores["psnr_AtoB"] == 100
    paired = ["l1_AtoB", "psnr_AtoB", "map_accuracy_AtoB", "ssim_AtoB"]
    assert [name for name in e.scores if name in paired] == paired, "bytes of scores.json differ by run"
    assert e.scores["map_accuracy_AtoB"] == 1
    assert e.scores["ssim_AtoB"] == pytest.approx(1)
    assert e.scores["precision_random_AtoB"] == 1
    assert e.scores["kernel_random_AtoB"] < e.scores["kernel_random_AtoB_se"]


def test_repeated_training_images_are_noticed(make_prepared: Make) -> None:
    prepared = make_prepared()
    train = np.load(prepared / "trainB.npy")
    e = judge(prepared, Constant(train[3]), Same())
    assert e.scores["nearest_train_AtoB"] == pytest.approx(0, abs=1e-4)
    assert set(e.nearest["AtoB"].row.tolist()) == {3}
    assert any("A → B" in note and "repeat" in note for note in e.notes)
    assert not any("B → A" in note and "repeat" in note for note in e.notes)


def test_mean_colour_baseline_is_what_a_constant_picture_reaches(make_prepared: Make) -> None:
    prepared = make_prepared()
    truth = np.load(prepared / "testB.npy")
    mean = truth.mean((0, 1, 2)).round().astype(np.uint8)
    e = judge(prepared, Constant(np.broadcast_to(mean, truth.shape[1:]).copy()), Same())
    assert e.scores["l1_AtoB"] == pytest.approx(e.scores["l1_AtoB_mean"])


def test_without_pairs_there_is_no_ground_truth(make_prepared: Make) -> None:
    e = judge(make_prepared(test_a=9, test_b=13, paired=False), Same(), Same())
    assert not [n for n in e.scores if n.startswith(("l1_", "psnr", "ssim", "map_accuracy"))]
    assert "cycle_l1_A" in e.scores
    assert len(e.per_image["AtoB"]["cycle_l1"]) == 9


def test_the_kernel_distance_is_surer_of_pairs_that_are_alike(make_prepared: Make) -> None:
    errors = {}
    for paired in (True, False):
        prepared = make_prepared(test_a=20, test_b=20, paired=paired, name=f"paired {paired}")
        np.save(prepared / "testB.npy", np.load(prepared / "testA.npy") // 2)
        errors[paired] = judge(prepared, Same(), Same()).scores["kernel_random_AtoB_se"]
    assert errors[True] < 0.5 * errors[False]


def test_few_images_are_told_in_the_notes(make_prepared: Make) -> None:
    few = judge(make_prepared(test_a=12, test_b=12), Same(), Same())
    assert any("12 test images for 24 feature dimensions" in note for note in few.notes)
    enough = judge(make_prepared(test_a=30, test_b=30, name="enough"), Same(), Same())
    assert not any("feature dimensions" in note for note in enough.notes)


def test_two_images_suffice_and_one_does_not(make_prepared: Make) -> None:
    two = judge(make_prepared(test_a=2, test_b=2), Same(), Same())
    assert all(math.isfinite(value) for value in two.scores.values())
    assert "kernel_random_AtoB" not in two.scores
    with pytest.raises(UsageError, match=r"testA .* gives 1 images"):
        judge(make_prepared(test_a=1, test_b=3, paired=False, name="one"), Same(), Same())


def test_a_subset_keeps_pairs_together(make_prepared: Make) -> None:
    prepared = make_prepared(test_a=20, test_b=20)
    np.save(prepared / "testB.npy", np.load(prepared / "testA.npy"))
    e = judge(prepared, Same(), Same(), max_images=7, seed=5)
    assert len(e.translations["AtoB"].images) == 7
    assert e.scores["l1_AtoB"] == 0


def test_images_are_judged_at_the_models_size(make_prepared: Make, make_model: Make, tmp_path: Path) -> None:
    prepared = make_prepared(side=36)
    evaluate(prepared, make_model(side=32), tmp_path / "scores", fast())
    assert read_json(tmp_path / "scores" / "evaluation.json")["protocol"]["image_size"].startswith("32x32")
    assert read_json(tmp_path / "scores" / "evaluation.json")["scale"] == pytest.approx(32 / 36)
    # A size that the generator does not take is no obstacle.
    evaluate(prepared, make_model(side=34, name="odd"), tmp_path / "other", fast())
    assert read_json(tmp_path / "other" / "evaluation.json")["protocol"]["image_size"].startswith("34x34")


def test_oblong_images_are_judged_whole_at_the_scale_of_training(
    make_prepared: Make, make_model: Make, tmp_path: Path
) -> None:
    prepared = make_prepared(side=40)
    manifest = read_json(prepared / "manifest.json")
    for domain in manifest["domains"]:
        np.save(prepared / f"{domain}.npy", np.load(prepared / f"{domain}.npy")[:, :30])
    write_json(prepared / "manifest.json", manifest | {"height": 30})
    evaluate(prepared, make_model(side=[30, 40]), tmp_path / "scores", fast())
    details = read_json(tmp_path / "scores" / "evaluation.json")
    assert details["protocol"]["image_size"].startswith("30x40")
    assert details["scale"] == 1
    silent = judge(prepared, Same(), Same())  # a model that does not say its scale
    assert silent.sets["A"].images.shape[1:3] == (30, 40)
    assert silent.scores["cycle_l1_A"] == 0


def test_a_diverged_model_is_one_sentence_and_leaves_former_scores(
    make_prepared: Make, make_model: Make, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    prepared, model = make_prepared(), make_model()
    evaluate(prepared, model, tmp_path / "scores", fast())
    before = (tmp_path / "scores" / "scores.json").read_bytes()
    state = {name: torch.full_like(t, math.nan) for name, t in load_file(model / "BtoA.safetensors").items()}
    save_file(state, model / "BtoA.safetensors")
    with pytest.raises(CycleGANError, match=r"not finite \(BtoA, "):
        evaluate(prepared, model, tmp_path / "scores", fast())
    assert (tmp_path / "scores" / "scores.json").read_bytes() == before


def test_a_folder_of_other_things_is_left_alone(
    make_prepared: Make, make_model: Make, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds other files \('thesis.tex'\)"):
        evaluate(make_prepared(), make_model(), tmp_path / "mine", fast())
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    with pytest.raises(UsageError, match="is a file"):
        evaluate(tmp_path / "prepared", tmp_path / "model", tmp_path / "mine" / "thesis.tex", fast())


def test_model_of_other_data_is_told(make_prepared: Make, make_model: Make, tmp_path: Path) -> None:
    model = make_model()
    config = read_json(model / "config.json")
    write_json(model / "config.json", config | {"data": {"version": "f" * 32 + ".dir"}})
    evaluate(make_prepared(), model, tmp_path / "scores", fast())
    notes = read_json(tmp_path / "scores" / "evaluation.json")["notes"]
    assert any("trained on data version ffff" in note for note in notes)


class Page(HTMLParser):
    """Tags, addresses and text of a page; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img", "input", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_stands_alone_and_shows_what_was_found(
    make_prepared: Make, make_model: Make, tmp_path: Path
) -> None:
    model = make_model()
    rows = [f"{step},{1 / step:.4f},{2 / step:.4f},{0.5:.4f}" for step in range(1, 900)]
    (model / "losses.csv").write_text("\n".join(["step,cycle_A,cycle_B,D_A", *rows]) + "\n")
    scores = evaluate(make_prepared(), model, tmp_path / "scores", fast())
    text = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "url(" not in text
    assert "b" not in page.tags  # file names are text, whatever they hold
    assert "testA/<b>" in page.text
    version = Prepared.open(tmp_path / "prepared").version
    for fact in (number(scores["score"]), version, "f" * 40, "Where it fails"):
        assert fact in page.text
    details = read_json(tmp_path / "scores" / "evaluation.json")
    gains, gain = details["gain_intervals"], details["gain"]
    kinds = ("frechet_random", "kernel_random", "l1")
    assert {f"{kind}_{d}" for kind in kinds for d in ("AtoB", "BtoA")} == gains.keys()
    for name, (low, high) in gains.items():
        better = "below the mean colour's" if name.startswith("l1") else "of the way"
        worse = "above the mean colour's" if name.startswith("l1") else "farther than the input"
        said = f"{gain[name]:.0%} {better} (95 %: {low:.0%} to {high:.0%})"
        if gain[name] < 0:
            said = f"{-gain[name]:.0%} {worse} (95 %: {-high:.0%} to {-low:.0%})"
        assert said.replace("%", " %").replace("95  %", "95 %").replace(" % to", " to") in page.text
    assert page.tags.count("polyline") == 3
    assert len(text) < 600_000


def test_report_compares_with_a_champion_judged_the_same_way(
    make_prepared: Make, make_model: Make, tmp_path: Path
) -> None:
    prepared, model, champion = make_prepared(), make_model(), tmp_path / "champion"
    evaluate(prepared, make_model(name="other", seed=1), champion, fast())
    scores = read_json(champion / "scores.json")

    def report(**change: float) -> str:
        write_json(champion / "scores.json", scores | change)
        details = read_json(champion / "evaluation.json")
        low = change.get("score", scores["score"])
        details["intervals"]["score"] = [low, low]
        write_json(champion / "evaluation.json", details)
        evaluate(prepared, model, tmp_path / "scores", fast(champion=str(champion)))
        return Page((tmp_path / "scores" / "report.html").read_text()).text

    assert "better, and the intervals do not overlap" in report(score=1e6)
    assert "worse, and the intervals do not overlap" in report(score=0.0)
    details = read_json(champion / "evaluation.json")
    write_json(champion / "evaluation.json", details | {"data_version": "another"})
    evaluate(prepared, model, tmp_path / "scores", fast(champion=str(champion)))
    text = Page((tmp_path / "scores" / "report.html").read_text()).text
    assert "not comparable" in text
    assert "intervals do not overlap" not in text
    with pytest.raises(UsageError, match="There are no scores in"):
        evaluate(prepared, model, tmp_path / "scores", fast(champion=str(tmp_path / "nowhere")))


def test_examples_lie_at_even_distances() -> None:
    assert spread(9, 3) == [0, 4, 8]
    assert spread(2, 6) == [0, 1]


def test_known_truths_decide_before_features_of_a_random_network(make_prepared: Make) -> None:
    prepared = make_prepared()
    write_provenance(prepared, "", {"A": "horse", "B": "zebra"})
    e = judge(prepared, Same(), Same())
    error = {"l1_AtoB_mean": 0.3, "l1_AtoB_input": 0.4, "l1_BtoA_mean": 0.3, "l1_BtoA_input": 0.4}

    def said(AtoB: float, BtoA: float, interval: tuple[float, float] = (0.2, 0.4)) -> Verdict:
        scores = e.scores | error | {"l1_AtoB": AtoB, "l1_BtoA": BtoA}
        return verdict(replace(e, scores=scores, gains={"l1_AtoB": interval}))

    good = said(0.1, 0.2)
    assert good.text == (
        "horse → zebra is 3.0 times closer to the true zebra images than their mean colour; "
        "zebra → horse is 1.5 times closer to the true horse images than their mean colour."
    )
    assert good.measure == "Measured by L1 on 12 test pairs, whose true pictures are known."
    assert good.tone == "good"
    assert "is 1.2 times farther from the true zebra images" in said(0.36, 0.2).text
    assert said(0.36, 0.2).tone == said(0.1, 0.3).tone == "warn"
    assert said(0.1, 0.4).tone == "bad"
    assert said(0.1, 0.4).text.endswith("than their mean colour, and worse than no translation at all.")
    unsure = said(0.29, 0.2, (-0.02, 0.09))
    assert "than their mean colour, which these few pairs cannot tell from equally close;" in unsure.text
    assert unsure.tone == "warn"
    by_inception = {f"frechet_inception768_{end}": 1.0 for end in ("AtoB", "BtoA", "input")}
    inception = replace(
        e, extractor=replace(e.extractor, name="inception768"), scores=e.scores | error | by_inception
    )
    assert "Fréchet distance of inception768 features" in verdict(inception).measure


def test_doing_nothing_or_worse_is_said_aloud(make_prepared: Make) -> None:
    black = Constant(np.zeros((32, 32, 3), dtype=np.uint8))
    notes = judge(make_prepared(name="paired"), Same(), black).notes
    assert any("mean colour is at least as close to the truth" in note for note in notes)
    prepared = make_prepared(paired=False)
    write_provenance(prepared, "", {"A": "horse", "B": "zebra"})
    e = judge(prepared, Same(), black)
    found = verdict(e)
    assert found.tone == "bad"
    assert "zebra → horse is worse than no translation" in found.text
    assert [note for note in e.notes if note.startswith("Worse than no translation")]
    np.save(prepared / "testB.npy", np.load(prepared / "testA.npy") // 2)

    class Half(Same):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - 1) / 2

    good = judge(prepared, Half(), Half())
    name = f"{good.extractor.frechet}_AtoB"
    for score, words in ((0.0, "100 %"), (0.001, "nearly all (99.9 %)"), (0.0101, "98 %"), (0.71, "29 %")):
        said = replace(
            good, scores=good.scores | {name: score * good.scores[f"{good.extractor.frechet}_input"]}
        )
        assert f"horse → zebra comes {words} of the way from the input to real zebra" in verdict(said).text
    assert not any("horse → zebra" in note and "untranslated" in note for note in good.notes)


def test_a_gain_too_small_for_the_distances_own_intervals_is_certain_when_both_have_the_same_images(
    make_prepared: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = make_prepared(paired=False, test_a=30, test_b=25)

    class Brighter(Same):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0.97 * x + 0.03

    e = judge(prepared, Brighter(), Same(), resamples=300)
    frechet = e.extractor.frechet
    untranslated = e.scores[f"{frechet}_input"]
    assert e.scores[f"{frechet}_AtoB"] < untranslated < e.intervals[f"{frechet}_AtoB"][1]
    gain, (low, high) = e.gain(f"{frechet}_AtoB"), e.gains[f"{frechet}_AtoB"]
    assert 0 < low < gain < high < 1
    said = verdict(e)
    assert f"to real B images (95 %: {100 * low:.0f} to {100 * high:.0f} %)" in said.text
    assert "cannot tell" not in said.text
    assert e.gains[f"{frechet}_BtoA"] == pytest.approx((0, 0), abs=1e-9)
    assert "B → A is not closer to real A images than the input is" in said.text

    # the same from the images drawn, by random numbers of another kind
    a, b = (e.extractor(e.sets[end].images, 8) for end in ("A", "B"))
    fake = e.extractor(e.translations["AtoB"].images, 8)
    rng, again = np.random.default_rng(7), []
    for _ in range(300):
        i, j = rng.integers(30, size=30), rng.integers(25, size=25)
        again.append(1 - frechet_distance(fake[i], b[j]) / frechet_distance(a[i], b[j]))
    ends = np.quantile(again, [0.025, 0.975]) - np.mean(again)
    assert (low - gain, high - gain) == pytest.approx(tuple(ends), rel=0.35)

    monkeypatch.setattr(result, "BOOTSTRAP_LIMIT", 1)
    jackknifed = judge(prepared, Brighter(), Same())
    assert "jackknife" in jackknifed.interval_method
    assert jackknifed.gains[f"{frechet}_AtoB"] == pytest.approx((low, high), abs=0.35 * (high - low))
    assert jackknifed.gains[f"{frechet}_BtoA"] == pytest.approx((0, 0), abs=1e-9)

    # worse by less than the interval is not called worse
    worse = replace(
        e,
        scores=e.scores | {f"{frechet}_AtoB": untranslated * 1.01},
        gains={f"{frechet}_AtoB": (-0.03, 0.01), f"{frechet}_BtoA": (-0.2, -0.1)},
    )
    assert "A → B is not closer to real B images than the input is" in verdict(worse).text
    assert "B → A is worse than no translation at all" in verdict(worse).text
    unsure = replace(e, gains={f"{frechet}_AtoB": (-0.01, 0.05), f"{frechet}_BtoA": (0, 0)})
    assert "cannot tell from nothing" in verdict(unsure).text


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_gain_of_the_kernel_distance_is_certain_of_what_both_distances_share(
    make_prepared: Make, direction: Any
) -> None:
    """Its error is that of leaving out each image, and every distance computed again."""
    prepared = make_prepared(paired=False, test_a=20, test_b=25)

    class Darker(Same):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0.95 * x - 0.05

    e = judge(prepared, Darker(), Darker())
    source, target = ENDS[direction]
    given, real = (e.extractor(e.sets[end].images, 8) for end in (source, target))
    fake = e.extractor(e.translations[direction].images, 8)

    def gain(i: list[int], j: list[int]) -> float:
        return 1 - kernel_distance(fake[i], real[j])[0] / kernel_distance(given[i], real[j])[0]

    rows, columns = list(range(len(given))), list(range(len(real)))
    variance = 0.0
    for left_out in (
        [gain([k for k in rows if k != i], columns) for i in rows],
        [gain(rows, [k for k in columns if k != j]) for j in columns],
    ):
        variance += (len(left_out) - 1) * np.var(left_out)
    name, found = f"{e.extractor.kernel}_{direction}", gain(rows, columns)
    assert e.gain(name) == pytest.approx(found)
    bounds = (found - 1.96 * variance**0.5, found + 1.96 * variance**0.5)
    assert e.gains[name] == pytest.approx(bounds, abs=0.05 * variance**0.5)


def test_the_gain_on_the_mean_colour_is_certain_of_what_pairs_share(make_prepared: Make) -> None:
    """Every picture is a little closer than the mean colour: certain only when resampled pair by pair."""
    prepared = make_prepared(test_a=30, test_b=30)
    b = np.load(prepared / "testB.npy")
    mean = b.mean(axis=(0, 1, 2))
    contrast = np.linspace(0.1, 1, 30)[:, None, None, None]
    b = (mean + contrast * (b - mean)).round()
    mean = b.mean(axis=(0, 1, 2)).round()
    np.save(prepared / "testB.npy", b.astype(np.uint8))
    np.save(prepared / "testA.npy", (b + 0.95 * (mean - b)).round().astype(np.uint8))
    e = judge(prepared, Same(), Same())
    errors, of_mean = (
        np.abs(b - other).mean(axis=(1, 2, 3)) / 255 for other in (np.load(prepared / "testA.npy"), mean)
    )
    assert e.gain("l1_AtoB") == pytest.approx(1 - errors.mean() / of_mean.mean(), abs=1e-6)
    rows = np.random.default_rng(0).integers(0, 30, (4000, 30))
    spread = 1.96 * (1 - errors[rows].mean(1) / of_mean[rows].mean(1)).std()
    low, high = e.gains["l1_AtoB"]
    assert (high - low) / 2 == pytest.approx(spread, rel=0.15)
    assert 0 < low < high < 0.2
    assert e.intervals["l1_AtoB"][1] > e.scores["l1_AtoB_mean"]  # which alone would be no answer


def test_there_is_no_gain_where_the_untranslated_images_may_be_as_good_as_real_ones(
    make_prepared: Make,
) -> None:
    prepared = make_prepared(paired=False, test_a=20, test_b=20)
    a, b = (np.load(prepared / f"test{end}.npy") for end in "AB")
    np.save(prepared / "testA.npy", np.concatenate([a[:10], b[:10]]))
    np.save(prepared / "testB.npy", np.concatenate([a[10:], a[:5], b[10:-5]]))
    e = judge(prepared, Same(), Same())
    name, baseline = f"{e.extractor.kernel}_AtoB", f"{e.extractor.kernel}_input"
    assert e.intervals[baseline][0] <= 0 < e.scores[baseline]
    assert e.gain(name) is None
    assert name not in e.gains


def test_the_image_that_spoils_the_score_is_found(make_prepared: Make) -> None:
    prepared = make_prepared(paired=False)
    images = np.load(prepared / "testB.npy")
    images[5] = [255, 0, 0]  # what Same makes of it is like no real image of A
    np.save(prepared / "testB.npy", images)
    e = judge(prepared, Same(), Same())
    values = e.per_image["BtoA"]
    assert int(values["influence"].argmax()) == 5
    assert int(values["nearest_real"].argmax()) == 5
    assert e.spacing["BtoA"] < values["nearest_real"][5]


def test_samples_and_plots_are_files_of_their_own(
    make_prepared: Make, make_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    model = make_model()
    (model / "losses.csv").write_text("step,cycle_A,D_A\n1,0.5,0.2\n2,0.4,0.3\n")
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Tracker, "describe", lambda self, text, pictures: shown.update(pictures))
    evaluate(make_prepared(test_a=20, test_b=20), model, tmp_path / "scores", fast())
    assert {picture.shape[1] for picture in shown.values()} == {780}  # MLflow cuts off what is wider
    index = read_json(tmp_path / "scores" / "evaluation.json")["samples"]
    assert [sample["row"] for sample in index["BtoA"]] == [0, 4, 8, 11, 15, 19]
    for sample in index["AtoB"]:
        assert set(sample["files"]) == {"input", "translation", "truth", "back"}
    first = index["AtoB"][0]["files"]["input"]
    kept = np.asarray(Image.open(tmp_path / "scores" / "samples" / first), dtype=int)
    given = np.load(tmp_path / "prepared" / "testA.npy")[0].astype(int)
    assert np.abs(kept - given).mean() < 6  # the same picture, but for compression
    assert Image.open(tmp_path / "scores" / "plots" / "samples_AtoB.png").width == 1200
    drawing = (tmp_path / "scores" / "plots" / "losses.svg").read_text()
    assert "Cycle-consistency loss" in drawing
    assert drawing.count("<polyline") == 2
    few = read_json(tmp_path / "scores" / "headline.json")
    assert next(iter(few)) == "score"
    assert len(few) < 10


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (123456.7, "123457"), (62.14159, "62.14"), (0.0123456, "0.01235"), (0.000004, "0.00000")],
)
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_monitor_scores_a_better_generator_lower_and_leaves_it_in_its_mode(make_prepared: Make) -> None:
    prepared = make_prepared()
    truth = np.load(prepared / "testB.npy")
    np.save(prepared / "testA.npy", truth)
    monitor = Monitor(Prepared.open(prepared), features="random", max_images=8)
    good, bad = Same().train(), Constant(np.zeros(truth.shape[1:], dtype=np.uint8)).eval()
    state = torch.get_rng_state()
    first = monitor.score({"AtoB": good, "BtoA": good})
    second = monitor.score({"AtoB": bad, "BtoA": good})
    assert torch.equal(torch.get_rng_state(), state)
    assert monitor.headline == "kernel_random"
    assert first["kernel_random"] < second["kernel_random"]
    assert first["kernel_random_BtoA"] == second["kernel_random_BtoA"]
    assert 0 < first["evaluation_seconds"] < 600
    assert first["kernel_random"] == (first["kernel_random_AtoB"] + first["kernel_random_BtoA"]) / 2
    assert good.training
    assert not bad.training
    assert {len(test.images) for test in monitor.sets.values()} == {8}


def test_monitor_takes_the_images_of_its_seed_at_the_scale_of_training(make_prepared: Make) -> None:
    data = Prepared.open(make_prepared())
    first, same, other = (
        Monitor(data, features="random", size=(16, 24), max_images=6, seed=seed).sets["A"].images
        for seed in (0, 0, 1)
    )
    assert first.shape[1:3] == (16, 24)
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_monitor_passes_on_which_weights_to_use(make_prepared: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def extractor(*values: Any, **named: Any) -> Extractor:
        asked.append((values, named))
        return load_extractor("random")

    monkeypatch.setattr(monitoring, "load_extractor", extractor)
    data = Prepared.open(make_prepared())
    Monitor(data, features="inception64", weights="w.pth", weights_sha256="0" * 64, prefix="evaluate_")
    given = ("inception64", "w.pth", "0" * 64, torch.device("cpu"))
    assert asked == [(given, {"prefix": "evaluate_", "kinds": data.kinds})]


def test_monitor_wants_enough_images(make_prepared: Make) -> None:
    with pytest.raises(UsageError, match="need 4 test images of each domain, not 3"):
        Monitor(Prepared.open(make_prepared(test_a=3, test_b=9)), features="random")
    Monitor(Prepared.open(make_prepared(test_a=4, test_b=9, name="four")), features="random")


@pytest.mark.usefixtures("without_onnx")
def test_scores_reach_the_run_and_the_registrys_champion_the_report(
    make_prepared: Make, make_model: Make, tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from cyclegan.registry.config import RegisterConfig
    from cyclegan.registry.register import register

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    with mlflow.start_run() as run:
        run_id = run.info.run_id
    prepared, model, out = make_prepared(), make_model(), tmp_path / "scores"
    write_json(model / "config.json", read_json(model / "config.json") | {"mlflow_run_id": run_id})
    address = "models:/evaluation-test"
    scores = evaluate(prepared, model, out, fast(champion=address))  # there is none yet
    assert "Champion" not in Page((out / "report.html").read_text()).text
    found = mlflow.get_run(run_id)
    assert found.data.metrics["score"] == pytest.approx(scores["score"])
    assert len(found.data.metrics) <= 8 < len(scores)  # a chart each on the run's page
    assert found.data.params["evaluate.features"] == "random"
    assert read_json(out / "evaluation.json")["mlflow_run_id"] == run_id
    names = [a.path for a in mlflow.MlflowClient().list_artifacts(run_id, "evaluation")]
    assert "evaluation/report.html" in names
    link = f"/runs/{run_id}/artifacts/evaluation/report.html?workflowType=machine_learning)"
    assert link in found.data.tags["mlflow.note.content"]
    shown = [a.path for a in mlflow.MlflowClient().list_artifacts(run_id, "images")]
    assert {path.partition("+")[0] for path in shown} == {"images/result~AtoB", "images/result~BtoA"}

    register(model, out, tmp_path / "registration.json", RegisterConfig(name="evaluation-test"))
    evaluate(prepared, make_model(name="other", seed=1), tmp_path / "second", fast(champion=address))
    text = Page((tmp_path / "second" / "report.html").read_text()).text
    assert f"champion {number(scores['score'])}" in text
    assert "better than the champion's" in text
    evaluate(prepared, model, out, fast(champion=f"{address}-BtoA@champion"))  # of the same pair
    assert "this model is the champion already" in Page((out / "report.html").read_text()).text
