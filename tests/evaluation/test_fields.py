"""Every parameter of evaluation changes what it says it changes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cyclegan.data.prepared import Prepared
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation import evaluate as step
from cyclegan.evaluation import measure, realism, result
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.evaluation.extractors import features, inception_weights
from cyclegan.evaluation.result import Evaluation
from cyclegan.io.files import read_json
from cyclegan.model import Model
from cyclegan.networks import Generator
from cyclegan.runtime.device import resolve_device

Make = Callable[..., Path]
IMAGES = 20


class Darker(Generator):
    """Takes some light away; notes how many images come at once."""

    multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        return (x - 0.05 - 0.1 * x.square()).clamp(-1, 1)


@dataclass
class Judge:
    """A prepared folder of 20 test images a domain, and the step with some fields changed."""

    folder: Path
    prepared: Path
    make_model: Make
    patch: pytest.MonkeyPatch
    reports: int = field(default=0, init=False)

    def measure(self, **changes: Any) -> Evaluation:
        config = EvaluateConfig(**{"features": "random", "resamples": 0, **changes})
        self.generators = Darker(), Darker()
        model = Model(*self.generators, {})
        return measure.measure(Prepared.open(self.prepared), model, config, torch.device("cpu"))

    def evaluate(self, **changes: Any) -> Path:
        """The folder that the whole step writes for a small model."""
        self.reports += 1
        out, model = self.folder / f"scores{self.reports}", self.folder / "model"
        if not model.exists():
            self.make_model()
        config = EvaluateConfig(**{"features": "random", "device": "cpu", "resamples": 20, **changes})
        step.evaluate(self.prepared, model, out, config)
        return out

    def weights(self, fill: float) -> tuple[str, str]:
        """A file with the names of the FID Inception, and its SHA-256."""
        path = self.folder / f"inception{fill}.pth"
        names = inception_weights.LAST_LAYER.values()
        torch.save({f"{layer}.conv.weight": torch.full((1,), fill) for layer in names}, path)
        return str(path), hashlib.sha256(path.read_bytes()).hexdigest()

    def fake_inception(self) -> None:
        """The random network by the name of the Inception that was asked for."""

        def inception(weights: inception_weights.Weights, size: int, device: torch.device) -> Any:
            network = features.random_network(device)
            return dataclasses.replace(network, name=f"inception{size}", sha256=weights.sha256)

        self.patch.setattr(features, "inception", inception)


@pytest.fixture
def judge(tmp_path: Path, make_prepared: Make, make_model: Make, monkeypatch: pytest.MonkeyPatch) -> Judge:
    prepared = make_prepared(test_a=IMAGES, test_b=IMAGES, side=16)
    return Judge(tmp_path, prepared, make_model, monkeypatch)


Check = Callable[[Judge], None]


def extractor(judge: Judge) -> None:
    judge.fake_inception()
    path, digest = judge.weights(1.0)
    for name, headline in (
        ("auto", "fid"),
        ("inception2048", "fid"),
        ("inception768", "frechet_inception768"),
        ("inception192", "frechet_inception192"),
        ("inception64", "frechet_inception64"),
    ):
        e = judge.measure(features=name, weights=path, weights_sha256=digest)
        assert (e.extractor.name, e.scores[headline]) == (headline_of(name), e.scores["score"])
    assert judge.measure(features="random").extractor.name == "random"
    assert judge.measure(features="auto").extractor.name == "random"  # with neither weights nor a download


def headline_of(name: str) -> str:
    """Which extractor is taken; auto takes all that the weights can do."""
    return "inception2048" if name == "auto" else name


def weights(judge: Judge) -> None:
    judge.fake_inception()
    for fill in (1.0, 2.0):
        path, digest = judge.weights(fill)
        found = judge.measure(features="auto", weights=path, weights_sha256=digest).extractor.sha256
        assert found == digest


def checksum(judge: Judge) -> None:
    judge.fake_inception()
    path, digest = judge.weights(1.0)
    with pytest.raises(UsageError, match="not a known file"):
        judge.measure(features="auto", weights=path)
    with pytest.raises(CycleGANError, match=f"{digest}, not {'0' * 64}"):
        judge.measure(features="auto", weights=path, weights_sha256="0" * 64)
    assert judge.measure(features="auto", weights=path, weights_sha256=digest).extractor.name != "random"


def at_once(judge: Judge) -> None:
    seen: list[int] = []
    network = features.random_network(torch.device("cpu"))

    def describe(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return network.function(pixels)

    judge.patch.setattr(
        measure, "load_extractor", lambda *args, **named: dataclasses.replace(network, function=describe)
    )
    for changes, sizes in (({}, {16, 4}), ({"batch_size": 7}, {7, 6})):
        seen.clear()
        judge.patch.setenv("CYCLEGAN_CACHE", str(judge.folder / f"cache{len(changes)}"))
        judge.measure(**changes)
        assert {size for generator in judge.generators for size in generator.sizes} == sizes
        assert set(seen) == sizes


def some_images(judge: Judge) -> None:
    for changes, count in (({}, IMAGES), ({"max_images": 6}, 6), ({"max_images": 99}, IMAGES)):
        e = judge.measure(**changes)
        assert {len(e.sets[end].names) for end in e.sets} == {count}
        assert {len(t.images) for t in e.translations.values()} == {count}


def bootstrap(judge: Judge) -> None:
    drawn: list[int] = []
    real = realism.resample_counts

    def counted(n: int, resamples: int, generator: torch.Generator) -> torch.Tensor:
        drawn.append(resamples)
        return real(n, resamples, generator)

    judge.patch.setattr(realism, "resample_counts", counted)
    assert not {"score", "frechet_random_AtoB"} & judge.measure(resamples=0).intervals.keys()
    assert not drawn
    found = judge.measure(resamples=9)
    assert {"score", "frechet_random_AtoB"} <= found.intervals.keys()
    assert "9 bootstrap resamples" in found.interval_method
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "BOOTSTRAP_LIMIT", 1)
        many = judge.measure(resamples=9)
        assert "jackknife" in many.interval_method and many.intervals.keys() == found.intervals.keys()
    for name in ("score", "frechet_random_AtoB"):
        (low, high), (a, b) = many.intervals[name], found.intervals[name]
        assert low < many.scores[name] < high and 0.3 < (high - low) / (b - a) < 3
    assert set(drawn) == {9}


def accuracy(judge: Judge) -> None:
    """The share of pixels with all three channels nearer than the threshold, from the images themselves."""
    found = []
    for changes, threshold in (({}, 10), ({"map_threshold": 60}, 60)):
        e = judge.measure(**changes)
        off = np.abs(e.translations["AtoB"].images.astype(int) - e.sets["B"].images.astype(int))
        found.append(e.scores["map_accuracy_AtoB"])
        assert found[-1] == pytest.approx((off < threshold).all(axis=3).mean(), abs=1e-12)
    assert found[0] < found[1]


def page(folder: Path) -> str:
    return unescape((folder / "report.html").read_text(encoding="utf-8"))


def examples(judge: Judge) -> None:
    for changes, count in (({}, 12), ({"examples": 3}, 3)):
        assert page(judge.evaluate(**changes)).count(f"{count} evenly spaced test images") == 2


def champion(judge: Judge) -> None:
    first = judge.evaluate()
    assert "Champion:" not in page(first)
    judge.evaluate(champion=str(first))
    assert "Champion: no significant difference" in page(judge.folder / "scores2")


def seed(judge: Judge) -> None:
    """Which images are drawn, and how they are resampled; not the scores of all of them."""

    def drawn(seed: int) -> list[str]:
        return judge.measure(max_images=6, seed=seed).sets["A"].names

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    first, again, other = (judge.measure(resamples=30, seed=seed) for seed in (0, 0, 1))
    assert first.scores == other.scores
    assert first.intervals["score"] == again.intervals["score"] != other.intervals["score"]


def device(judge: Judge) -> None:
    used: list[str] = []

    class Seen(Exception):
        """Enough is known."""

    def loaded(folder: Path, where: torch.device) -> Model:
        used.append(str(where))
        return Model(Darker(), Darker(), {})

    def measured(data: Prepared, model: Model, config: EvaluateConfig, where: torch.device) -> Evaluation:
        used.append(str(where))
        raise Seen

    judge.patch.setattr(step, "load_model", loaded)
    judge.patch.setattr(step, "weights_digest", lambda folder: "")
    judge.patch.setattr(step, "measure", measured)
    (judge.folder / "model").mkdir()
    for wanted, found in (("auto", str(resolve_device("auto"))), ("cpu:0", "cpu:0")):
        used.clear()
        with pytest.raises(Seen):
            judge.evaluate(device=wanted)
        assert used == [found, found]


EFFECTS: dict[str, Check] = {
    "features": extractor,
    "weights": weights,
    "weights_sha256": checksum,
    "batch_size": at_once,
    "max_images": some_images,
    "resamples": bootstrap,
    "map_threshold": accuracy,
    "examples": examples,
    "champion": champion,
    "seed": seed,
    "device": device,
}


def test_no_field_is_without_a_test_of_what_it_does() -> None:
    assert {one.name for one in fields(EvaluateConfig)} == EFFECTS.keys()


@pytest.mark.parametrize("name", EFFECTS)
def test_a_field_changes_what_it_says(name: str, judge: Judge) -> None:
    EFFECTS[name](judge)


def test_what_is_recorded_is_what_was_chosen(judge: Judge) -> None:
    chosen = {"resamples": 7, "examples": 2, "batch_size": 5, "max_images": 9, "seed": 3, "map_threshold": 30}
    recorded = read_json(judge.evaluate(**chosen) / "evaluation.json")
    assert chosen.items() <= recorded["config"].items()
    assert recorded["protocol"]["chosen_by"] == "seed 3"
