"""What a run says of itself: how fast it is, how long it will take, what would be faster."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from cyclegan.tracking import view
from cyclegan.tracking.base import Tracker
from cyclegan.training.config import TrainConfig
from cyclegan.training.progress import reporter as reporting
from cyclegan.training.progress.advice import alternatives, faster, update_flops
from cyclegan.training.progress.pace import MEASURED, WARM_UP, Pace, Pause, duration
from cyclegan.training.progress.reporter import Reporter
from cyclegan.training.updates.update import TERMS


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def play(clock: Clock, pace: Pace, updates: int, *, seconds: float) -> None:
    for _ in range(updates):
        clock.now += seconds
        pace.updated()


def test_the_rest_is_estimated_from_updates_and_the_pauses_to_come_without_the_warm_up() -> None:
    clock = Clock()
    every: dict[Pause, int] = {"samples": 4, "evaluation": 5, "checkpoint": 0, "model": 1}
    pace = Pace(100, 10, every, clock=clock)
    assert pace.left(0) is None
    with pace.pause("samples"):
        clock.now += 3
    clock.now += 50  # reading data before the first update
    pace.start()
    play(clock, pace, WARM_UP, seconds=60)
    assert pace.left(WARM_UP) is None
    play(clock, pace, MEASURED, seconds=2)
    assert pace.measured
    step = WARM_UP + MEASURED
    assert step == 23
    assert pace.left(step) == pytest.approx(77 * 2 + 3 * 3)  # samples after epochs 4, 8 and the last
    assert pace.unmeasured("evaluation", step) == 2
    with pace.pause("evaluation"):
        clock.now += 40
    with pace.pause("checkpoint"):  # at no regular interval, and at the end
        clock.now += 20
    with pace.pause("model"):
        clock.now += 1
    rest = 3 * 3 + 2 * 40 + 20 + 8 * 1
    assert pace.left(step) == pytest.approx(77 * 2 + rest)
    assert pace.unmeasured("evaluation", step) == 0
    assert pace.left(55) == pytest.approx(45 * 2 + 2 * 3 + 40 + 20 + 5 * 1)
    assert pace.left(100) == 0
    assert pace.seconds == pytest.approx(60 * WARM_UP + 2 * MEASURED)
    assert pace.speed == pytest.approx(step / pace.seconds)
    assert pace.recent_speed == pytest.approx(0.5)
    assert pace.elapsed == pytest.approx(3 + 50 + pace.seconds + 61)


@pytest.mark.parametrize("epochs_between", [0, 1, 3])
def test_what_is_said_early_comes_true(epochs_between: int) -> None:
    """A run of known cost, whose epochs are short beside the samples and checkpoints at their ends."""
    clock = Clock()
    every: dict[Pause, int] = {"samples": epochs_between, "evaluation": 0, "checkpoint": 1, "model": 1}
    pace, epochs, steps = Pace(400, 40, every, clock=clock), 10, 40
    with pace.pause("samples"):
        clock.now += 1.2
    said = []
    pace.start()
    for epoch in range(1, epochs + 1):
        for i in range(steps):
            clock.now += 3 if pace.updates == 0 else (0.09, 0.11)[i % 2]
            pace.updated()
            said.append((clock.now, pace.left(pace.updates)))
        if epoch == epochs or (epochs_between and epoch % epochs_between == 0):
            with pace.pause("samples"):
                clock.now += 1
        for kind in ("checkpoint", "model"):
            with pace.pause(kind):  # type: ignore[arg-type]
                clock.now += 0.1
    for after, within in ((WARM_UP + MEASURED, 0.2), (60, 0.03), (300, 0.03)):
        when, left = said[after - 1]
        assert left == pytest.approx(clock.now - when, rel=within)


def test_updates_that_a_device_has_yet_to_do_count_once_they_are_done() -> None:
    """As on a GPU: ordering an update takes 1 ms, doing it 100 ms, and only some calls wait for that."""
    clock, ready = Clock(), [1000.0]

    def wait() -> None:
        clock.now = max(clock.now, ready[0])

    pace = Pace(1000, 500, {}, clock=clock, synchronise=wait)
    for i in range(1, 401):
        clock.now += 0.001
        ready[0] = max(ready[0], clock.now) + 0.1
        pace.updated()
        if i % 50 == 0:
            wait()  # as reading losses does
            pace.interval()
        if i >= WARM_UP + MEASURED:
            assert pace.recent_speed == pytest.approx(10, rel=0.05)
    assert pace.left(400) == pytest.approx(60, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (3580, "1 h"), (3600, "1 h"), (12000, "3 h 20 min"),
     (86400, "24 h"), (3 * 86400 + 4 * 3600, "3 days 4 h"), (14 * 86400, "14 days")],
)  # fmt: skip
def test_lengths_of_time_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report_of(clock: Clock, total: int, *, advice: Callable[[], str] = lambda: "") -> Reporter:
    pace = Pace(total, 10, {}, clock=clock)
    return Reporter(Tracker(), pace, batch_size=2, step=0, samples=[], advice=advice)


def run(report: Reporter, clock: Clock, steps: range, *, seconds: float) -> None:
    for step in steps:
        clock.now += seconds
        report.updated(step)


def test_the_bar_moves_with_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, clock = Terminal(), Clock()
    monkeypatch.setattr("sys.stderr", terminal)
    report = report_of(clock, 100)
    report.bar.mininterval = 0
    run(report, clock, range(1, 13), seconds=0.5)
    report.bar.refresh()
    shown = terminal.getvalue().split("\r")
    assert all(any(f" {step}/100 " in line for line in shown) for step in range(1, 13))
    assert "Epoch 2 of 10" in shown[-1]
    assert "4.0 images/s, 44 s left" in shown[-1]
    report.losses(torch.full((12, len(TERMS)), 0.25), 12, 1e-4)
    run(report, clock, range(13, 14), seconds=0.5)
    report.bar.refresh()
    assert "cycle loss 0.250 0.250" in terminal.getvalue()
    report.close()


def test_a_log_file_has_a_line_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    clock = Clock()
    monkeypatch.setattr(reporting.time, "monotonic", clock)
    report = report_of(clock, 100)
    run(report, clock, range(1, 101), seconds=2)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Update")]
    assert len(lines) == 7  # each 16 updates, and the last
    assert lines[1] == "Update 32 of 100, epoch 4 of 10: 1.0 images/s, 2 min left."
    assert lines[-1] == "Update 100 of 100, epoch 10 of 10: 1.0 images/s."


@pytest.mark.parametrize(("seconds", "advised"), [(1.0, False), (100.0, True)])
def test_the_length_of_the_run_is_said_early_and_what_would_shorten_days(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, advised: bool
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    clock = Clock()
    report = report_of(clock, 2000, advice=lambda: "Walk faster.")
    run(report, clock, range(1, 200), seconds=seconds)
    said = [r.getMessage() for r in caplog.records]
    (estimate,) = [message for message in said if message.startswith("This run takes about")]
    assert f"about {duration(2000 * seconds)}, until" in estimate
    assert ("Walk faster." in said) == advised


def test_evaluations_that_none_can_tell_the_length_of_are_counted_in_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    clock = Clock()
    pace = Pace(200, 20, {"evaluation": 5}, clock=clock)
    run(Reporter(Tracker(), pace, batch_size=1, step=0, samples=[]), clock, range(1, 30), seconds=1)
    assert "This run takes about 3 min, until " in caplog.text
    assert ", and longer by 2 evaluations." in caplog.text


@pytest.mark.parametrize(
    ("every", "step", "left"),
    [(0, 0, 0), (4, 0, 3), (4, 45, 2), (4, 80, 1), (4, 100, 0), (5, 0, 2), (99, 0, 1)],
)
def test_the_last_epoch_is_scored_where_any_is(every: int, step: int, left: int) -> None:
    assert Pace(100, 10, {"evaluation": every}).unmeasured("evaluation", step) == left


def test_advice_counts_operations() -> None:
    config = TrainConfig(generator="resnet", blocks=9, width=64, lambda_identity=5.0, crop_size=256,
                         discriminator="patchgan")  # fmt: skip
    assert update_flops(config, 256, 256) / 1e12 == pytest.approx(1.879, abs=0.001)  # as in test_update.py
    advice = faster(config, 256, 256)
    assert "--crop-size 128 (4.0 times)" in advice
    assert "--lambda-identity 0 (1.5 times)" in advice
    assert "--width 32 --blocks 6 --discriminator-width 48 --crop-size 128 --lambda-identity 0 (" in advice
    small = TrainConfig(generator="resnet", blocks=6, width=32, lambda_identity=0.0, crop_size=96,
                        discriminator_width=32)  # fmt: skip
    assert alternatives(small, 96, 96) == []
    assert faster(small, 96, 96).startswith("Half the epochs")
    assert alternatives(TrainConfig(), 256, 256)[-1]["generator"] == "resnet"


def test_a_frozen_vgg16_costs_its_passes_and_no_gradients_of_weights() -> None:
    """At 96×96, batch 1, from the sizes of the layers: VGG-16 sees six images and goes back through two."""
    patchgan = TrainConfig(generator="resnet", blocks=1, width=4, crop_size=96, discriminator="patchgan")
    perceptual = replace(patchgan, discriminator="perceptual")
    stages = ((96, 3 * 64 + 64 * 64), (48, 64 * 128 + 128 * 128), (24, 128 * 256 + 2 * 256 * 256))
    vgg = sum(9 * side**2 * channels for side, channels in stages)
    # Of each head the first layer, which needs no gradient of its input, and the others.
    first = 48**2 * 128 * 96 + 24**2 * 256 * 128 + 768 * 128
    fine, coarse = (24**2 + 12**2) * 96**2 * 16 + 11**2 * 96 * 16, 12**2 * 128**2 * 16 + 11**2 * 128 * 16
    heads = first + fine + coarse + 128**2 + 128
    # Generators: two images, forward and back to them. Discriminators: four, forward and back to weights.
    expected = 2 * ((2 + 2 + 4) * vgg + (2 + 2 + 4 * 3) * heads - 4 * first)
    extra = update_flops(perceptual, 96, 96) - update_flops(patchgan, 96, 96)
    assert extra == pytest.approx(expected, rel=1e-3)
    assert "--discriminator patchgan (" in faster(perceptual, 96, 96)


class Numbers(Tracker):
    def __init__(self) -> None:
        self.all: list[dict[str, float]] = []

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.all.append(dict(values))


def test_losses_are_reported_by_name_with_images_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    clock, tracker = Clock(), Numbers()
    report = Reporter(tracker, Pace(100, 10, {}, clock=clock), batch_size=3, step=0, samples=[])
    run(report, clock, range(1, 5), seconds=0.5)
    rows = torch.arange(4.0)[:, None] + torch.arange(float(len(TERMS)))
    means = report.losses(rows, 4, 1e-4)
    assert means == {name: 1.5 + i for i, name in enumerate(TERMS)}
    (numbers,) = tracker.all
    assert numbers["train/speed/images_per_second"] == pytest.approx(6)
    assert report.images_per_second() == pytest.approx(6)
    assert numbers["train/speed/lr"] == 1e-4
    assert numbers["train/cycle_B"] == means["cycle_B"]
    assert numbers["train/diagnostics/fake_A"] == means["fake_A"]
    assert {key for _, pair in view.CURVES for key in pair} < numbers.keys()


def test_mlflow_compares_two_runs_by_a_cycle_loss_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its page of two runs draws what was recorded first, before anyone has chosen."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    tracker, images = Numbers(), torch.rand(3, 3, 8, 8) * 2 - 1
    same = torch.nn.Identity()
    same.multiple, same.smallest = 4, 1  # type: ignore[assignment]
    report = Reporter(tracker, Pace(9, 3, {}), batch_size=1, step=0, samples=[images, images])
    report.translations(same, same, 0)  # type: ignore[arg-type]
    report.losses(torch.zeros(1, len(TERMS)), 1, 1e-4)
    report.translations(same, same, 1)  # type: ignore[arg-type]
    recorded = [key for numbers in tracker.all for key in numbers]
    assert recorded[0] == "train/cycle_A"
    assert "train/diagnostics/input_correlation_AtoB" in recorded[1:]


def test_signs_of_a_collapse_are_warned_of_once_at_the_third_report(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    report = report_of(Clock(), 100)
    collapsed = torch.zeros(1, len(TERMS))
    for i in range(1, 6):
        report.losses(collapsed + i / 1e5, i, 1e-4)
        assert ("D_A" in caplog.text) == (i >= 3)
    assert caplog.text.count("gives nearly" if "gives nearly" in caplog.text else "D_A separates") <= 1

    images = torch.rand(3, 3, 8, 8) * 2 - 1
    inverting = torch.nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        inverting.weight.copy_(-torch.eye(3)[:, :, None, None])
    inverting.multiple, inverting.smallest = 4, 1
    shown = Reporter(Tracker(), Pace(9, 3, {}), batch_size=1, step=0, samples=[images, images])
    for i in range(3):
        assert "AtoB inverts" not in caplog.text
        shown.translations(inverting, inverting, i)
    assert "AtoB inverts" in caplog.text and "BtoA inverts" in caplog.text


def test_samples_are_encoded_once_and_again_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[tuple[int, ...]] = []

    def picture(grid: np.ndarray, *_: object, **__: object) -> str:
        encoded.append(grid.shape)
        return f"data:{grid[-50:].mean()}"

    monkeypatch.setattr(reporting, "picture", picture)
    images = torch.rand(1, 3, 8, 8) * 2 - 1
    same = torch.nn.Conv2d(3, 3, 1, bias=False)
    same.multiple, same.smallest = 4, 1
    report = Reporter(Tracker(), Pace(9, 3, {}), batch_size=1, step=0, samples=[images, images])
    assert report.addresses() == {}
    report.draw(same, same)
    first = dict(report.addresses())
    assert report.addresses() == first and first.keys() == {"AtoB", "BtoA"}
    assert len(encoded) == 2
    with torch.no_grad():
        same.weight.zero_()
    report.draw(same, same)
    assert report.addresses()["AtoB"] != first["AtoB"] and len(encoded) == 4
