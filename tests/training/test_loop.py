"""What a run does beside its updates: it keeps the best epoch, stops in time and writes the model whole."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import cyclegan.model
import cyclegan.training.train as training
from cyclegan.data.prepared import write_provenance
from cyclegan.errors import CycleGANError, enough_memory
from cyclegan.evaluation.monitor import Monitor
from cyclegan.io.files import atomic_dir, read_json, write_json
from cyclegan.io.pages.pictures import GAP, LINE
from cyclegan.model import DIRECTIONS, load_model
from cyclegan.registry.metrics import describe
from cyclegan.runtime.device import available_bytes
from cyclegan.runtime.signals import Interrupted, StopRequest
from cyclegan.tracking.base import Tracker
from cyclegan.training import loop, memory
from cyclegan.training.config import TrainConfig
from cyclegan.training.train import train
from cyclegan.training.updates.update import Update


def test_the_best_epoch_is_exported_and_patience_ends_the_run(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for cache in ("CYCLEGAN_CACHE", "TORCH_HOME"):  # without weights the features are of a small network
        monkeypatch.setenv(cache, str(tmp_path / "cache"))
    # The headline has the say: a single direction, which here gets better every time, has none.
    headlines, directions = iter([0.5, 0.2, 0.3, 0.25]), iter([0.4, 0.3, 0.2, 0.1])

    def score(self: Monitor, generators: object) -> dict[str, float]:
        return {f"{self.headline}_AtoB": next(directions), self.headline: next(headlines)}

    monkeypatch.setattr(Monitor, "score", score)
    watched = small(epochs=9, decay_epochs=0, evaluate_every=1, patience=2)
    results = train(prepared, tmp_path / "best", watched, checkpoints=str(tmp_path / "c"))
    assert next(headlines, None) is None
    assert results["epochs"] == 4
    assert read_json(tmp_path / "best" / "config.json")["epochs"] == 2

    shorter = small(epochs=2, decay_epochs=0)
    train(prepared, tmp_path / "two", shorter, checkpoints=str(tmp_path / "elsewhere"))
    again = train(prepared, tmp_path / "again", watched, checkpoints=str(tmp_path / "c"))
    assert again["epochs"] == 4
    for direction in DIRECTIONS:
        expected = (tmp_path / "two" / f"{direction}.safetensors").read_bytes()
        assert (tmp_path / "best" / f"{direction}.safetensors").read_bytes() == expected
        assert (tmp_path / "again" / f"{direction}.safetensors").read_bytes() == expected


def test_a_run_that_patience_ended_continues_with_more_of_it_or_without(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], scores: list[float]
) -> None:
    scores[:] = [0.1, 0.2, 0.3, 0.4, 0.5]

    def epochs(**fields: Any) -> float:
        config = small(**{"epochs": 6, "decay_epochs": 0, **fields})
        return train(prepared, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))["epochs"]

    assert epochs(evaluate_every=1, patience=2) == 3
    assert epochs(evaluate_every=1, patience=2, epochs=9) == 3
    assert epochs(evaluate_every=1, patience=3) == 4
    assert epochs(evaluate_every=1, epochs=5) == 5
    assert epochs() == 6
    assert scores == []


def test_the_last_epoch_is_scored_too(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], scores: list[float]
) -> None:
    """Else it cannot be exported, and the end of the decay would be for nothing."""
    scores[:] = [0.3, 0.2, 0.1]
    config = small(epochs=3, decay_epochs=2, evaluate_every=2)
    train(prepared, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))
    assert scores == [] and read_json(tmp_path / "model" / "config.json")["epochs"] == 5


def test_a_run_that_is_no_longer_scored_exports_its_newest_epoch(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    scores: list[float],
    caplog: pytest.LogCaptureFixture,
) -> None:
    scores[:] = [0.1, 0.2, 0.3]

    def exported(epochs: int, name: str = "model", **fields: int) -> tuple[int, bytes]:
        config = small(epochs=epochs, decay_epochs=0, **fields)
        train(prepared, tmp_path / name, config, checkpoints=str(tmp_path / f"c {name}"))
        folder = tmp_path / name
        return read_json(folder / "config.json")["epochs"], (folder / "AtoB.safetensors").read_bytes()

    best = exported(2, evaluate_every=1)
    assert best[0] == 1 and not caplog.text.count("scored best")
    assert exported(4) == exported(4, "straight") and caplog.text.count("Epoch 1 scored best so far") == 1
    assert exported(5, evaluate_every=1) == best  # whose weights and score are still there


def test_patience_does_not_count_scores_of_other_features(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    scores: list[float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def run(**fields: int) -> float:
        config = small(**{"epochs": 6, "decay_epochs": 0, "evaluate_every": 1, **fields})
        return train(prepared, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))["epochs"]

    def best() -> int:
        return read_json(tmp_path / "model" / "config.json")["epochs"]

    scores[:] = [0.1, 0.2, 0.3, 0.9, 1.0, 1.1]
    assert run(patience=2) == 3 and best() == 1
    monkeypatch.setattr(Monitor, "headline", "kid")
    assert run(patience=2) == 6 and best() == 4 and scores == []
    assert "so far does not compare with kid" in caplog.text
    monkeypatch.setattr(Monitor, "headline", "other")
    assert run() == 6 and best() == 4  # nothing is left to train, so the best is what it was


def test_too_little_memory_is_one_sentence(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: Update, *batch: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Update, "__call__", exhausted)
    with pytest.raises(CycleGANError, match=r"Out of memory: raise accumulation_steps") as failure:
        train(prepared, tmp_path / "model", small(), checkpoints=str(tmp_path / "c"))
    assert failure.value.exit_code == 1
    assert not (tmp_path / "model").exists()
    with pytest.raises(CycleGANError, match="Out of memory: buy some"), enough_memory("buy some"):
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="another matter"), enough_memory("buy some"):
        raise RuntimeError("another matter")


def test_a_training_too_large_for_the_machine_is_announced(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    free = available_bytes(torch.device("cpu"))
    assert free is None or 10**8 < free < 2**50
    for available, warned in ((10**6, True), (10**12, False), (None, False)):
        monkeypatch.setattr(memory, "available_bytes", lambda device, bytes=available: bytes)
        caplog.clear()
        train(prepared, tmp_path / "m", small(epochs=1, decay_epochs=0), checkpoints=str(tmp_path / "c"))
        assert ("Only 1 MB is free: enable gradient_checkpointing" in caplog.text) == warned


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 MB"), (41_600_000, "42 MB"), (999_000_000, "999 MB"), (1_340_000_000, "1.3 GB")]
)
def test_memory_is_said_in_a_unit_that_shows_it(size: int, said: str) -> None:
    assert memory.amount(size) == said


def test_the_model_folder_appears_with_its_loss_curves(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed: list[set[str]] = []

    @contextmanager
    def watched(path: Path, *, durable: bool) -> Iterator[Path]:
        assert durable  # the checkpoints may be elsewhere, or gone
        with atomic_dir(path) as temporary:
            yield temporary
            renamed.append({file.name for file in temporary.iterdir()})

    monkeypatch.setattr(cyclegan.model, "atomic_dir", watched)
    train(prepared, tmp_path / "model", small(epochs=1, decay_epochs=0), checkpoints=str(tmp_path / "c"))
    assert renamed == [{"AtoB.safetensors", "BtoA.safetensors", "config.json", "losses.csv", "README.md"}]
    rows = (tmp_path / "model" / "losses.csv").read_text().splitlines()
    assert rows[0].startswith("step,adversarial_AtoB,")
    assert [row.split(",")[0] for row in rows[1:]] == ["3", "6", "7"]


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """stop_at(9): a signal asks to stop during the ninth update from now on.

    checkpoints/test_resume.py sends real signals, which may come at any update.
    """
    asked: list[StopRequest] = []
    enter, whole = StopRequest.__enter__, Update.__call__
    left = 0

    def entered(self: StopRequest) -> StopRequest:
        asked.append(self)
        return enter(self)

    def update(self: Update, *batch: torch.Tensor) -> torch.Tensor:
        nonlocal left
        left -= 1
        if left == 0:
            asked[-1].number = signal.SIGINT
        return whole(self, *batch)

    def stop(number: int) -> None:
        nonlocal left
        left = number

    monkeypatch.setattr(StopRequest, "__enter__", entered)
    monkeypatch.setattr(Update, "__call__", update)
    return stop


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What evaluations during training will find, the next one first; each takes its own away."""
    for cache in ("CYCLEGAN_CACHE", "TORCH_HOME"):  # without weights the features are of a small network
        monkeypatch.setenv(cache, str(tmp_path / "cache"))
    found: list[float] = []
    monkeypatch.setattr(Monitor, "score", lambda self, generators: {self.headline: found.pop(0)})
    return found


def test_the_model_folder_is_current_from_the_first_epoch_on(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    stop_at: Callable[[int], None],
) -> None:
    """Stopped at any moment, a run leaves generators that load, as they were when it stopped."""
    done = 0

    def update(self: Update, *batch: torch.Tensor) -> torch.Tensor:
        nonlocal done
        done += 1
        if done > 7:  # the second epoch has begun
            config = read_json(tmp_path / "model" / "config.json")
            assert (config["epochs"], config["finished"]) == (1, False)
        return whole(self, *batch)

    stop_at(9)
    whole = Update.__call__
    monkeypatch.setattr(Update, "__call__", update)
    longer = small(epochs=3, decay_epochs=0, ema=0.5)
    with pytest.raises(Interrupted, match="after update 9 of 21"):
        train(prepared, tmp_path / "model", longer, checkpoints=str(tmp_path / "c"))
    stopped = load_model(tmp_path / "model")
    checkpoint = load_file(next((tmp_path / "c").glob("*/0000000009-*")))
    for name, tensor in stopped.AtoB.state_dict().items():
        assert torch.equal(tensor, checkpoint[f"ema.AtoB.{name}"]), name

    monkeypatch.setattr(Update, "__call__", whole)
    train(prepared, tmp_path / "model", longer, checkpoints=str(tmp_path / "c"))
    config = read_json(tmp_path / "model" / "config.json")
    assert (config["epochs"], config["finished"]) == (3, True)
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    assert not torch.equal(load_model(tmp_path / "model").AtoB(images), stopped.AtoB(images))


def test_a_stop_on_the_last_update_of_an_epoch_changes_nothing(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    stop_at: Callable[[int], None],
    scores: list[float],
) -> None:
    """Resuming begins with the next epoch, so this one is scored, here as the best, and logged before."""
    config = small(epochs=3, decay_epochs=0, evaluate_every=1)
    files = {}
    for name, stop in (("straight", 0), ("stopped", 14)):
        scores[:] = [0.5, 0.1, 0.4]
        stop_at(stop)
        with pytest.raises(Interrupted, match="after update 14 of 21") if stop else nullcontext():
            train(prepared, tmp_path / name, config, checkpoints=str(tmp_path / f"{name} c"))
        if stop:
            train(prepared, tmp_path / name, config, checkpoints=str(tmp_path / f"{name} c"))
        assert scores == [] and read_json(tmp_path / name / "config.json")["epochs"] == 2
        kept = ("AtoB.safetensors", "BtoA.safetensors", "losses.csv")
        files[name] = {file: (tmp_path / name / file).read_bytes() for file in kept}
    assert files["stopped"] == files["straight"]


def test_an_evaluation_that_a_killed_run_never_finished_is_made_when_it_resumes(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], scores: list[float]
) -> None:
    config = small(epochs=2, decay_epochs=0, evaluate_every=1, checkpoint_minutes=1e-9)
    for left in ([], [0.5, 0.4]):
        scores[:] = left
        with nullcontext() if left else pytest.raises(IndexError):
            train(prepared, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))
    assert scores == []


def test_checkpoints_since_the_last_log_line_do_not_hide_the_speed(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], recorder: Recorder
) -> None:
    config = small(epochs=1, decay_epochs=0, log_every=100, checkpoint_minutes=1e-9, batch_size=2)
    results = train(prepared, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))
    assert results["images_per_second"] > 0
    name = "train/speed/images_per_second"
    speeds = [values[name] for _, values in recorder.numbers if name in values]
    assert len(speeds) == 1 and speeds[0] > 0


class Recorder(Tracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.numbers: list[tuple[int | None, dict[str, float]]] = []
        self.pictures: dict[tuple[str, int], np.ndarray] = {}
        self.first: dict[tuple[str, int], np.ndarray] = {}
        self.name = ""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.numbers.append((step, dict(values)))

    def image(self, key: str, array: np.ndarray, step: int) -> None:
        self.first.setdefault((key, step), array)
        self.pictures[key, step] = array


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The tracker of whatever trains in this test."""
    tracker = Recorder()

    def opened(step: str, *, run_id: str | None = None, name: str = "") -> Any:
        tracker.name = name
        return nullcontext(tracker)

    monkeypatch.setattr(training, "open_run", opened)
    return tracker


def test_scores_during_training_leave_the_names_of_evaluate_to_it(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], recorder: Recorder, scores: list[float]
) -> None:
    """They are of fewer images, and MLflow would show them: it takes the value of the latest step."""
    scores[:] = [0.5, 0.4]
    config = small(epochs=2, decay_epochs=0, evaluate_every=1)
    train(prepared, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))
    logged = [(name, step) for step, values in recorder.numbers for name in values]
    assert [step for name, step in logged if name == "train/kernel_random"] == [7, 14]
    assert not [name for name, _ in logged if describe(name)]


def test_the_page_of_a_run_is_fresh_while_it_trains_and_rests_when_it_is_done(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    pages: list[str] = []
    write = loop.write_progress

    def keep(path: Path, **facts: Any) -> None:
        write(path, **facts)
        pages.append(path.read_text())

    monkeypatch.setattr(loop, "write_progress", keep)
    config = small(epochs=2, decay_epochs=0, samples=2, sample_every=1, log_every=1)
    train(prepared, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))
    start, first, last = pages
    assert "Starting: 2 epochs" in start and 'http-equiv="refresh"' in start
    assert start.count("data:image/webp") == 2  # what the untrained generators draw
    assert caplog.text.count("model-progress.html") == 1
    assert 'http-equiv="refresh"' in first
    assert "Epoch 1 of 2" in first
    assert 'http-equiv="refresh"' not in last
    assert "Finished after 2 epochs" in last
    for page in (first, last):
        assert page.count("data:image/webp") == 2
        assert "Cycle-consistency loss" in page
    assert (tmp_path / "model-progress.html").read_text() == last
    assert "progress.html" not in {file.name for file in (tmp_path / "model").iterdir()}
    train(prepared, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))
    assert pages[-1].count("data:image/webp") == 2  # a finished run that is called again keeps its pictures


def test_mlflow_begins_with_the_newest_samples_of_a_run_whose_name_tells_it_from_others(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], recorder: Recorder
) -> None:
    named = Path(shutil.copytree(prepared, tmp_path / "named"))
    write_provenance(named, "my/s + my/t", {"A": "sümmer", "B": "winter"})
    config = small(epochs=2, decay_epochs=1, samples=1, sample_every=1)
    train(named, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))
    assert recorder.name == "resnet s-mmer-winter 32x32, 3 epochs, seed 0"
    for way in ("samples/AtoB", "samples/BtoA"):
        assert (recorder.pictures[way, 0] == recorder.pictures[way, 3]).all()
        assert (recorder.first[way, 0] != recorder.pictures[way, 3]).any()  # what people saw while it trained


@pytest.mark.parametrize(
    ("height", "image_size", "expected"), [(40, 0, (40, 40)), (40, 36, (36, 36)), (34, 0, (34, 40))]
)
def test_samples_are_whole_test_images_at_the_scale_of_training(
    prepared: Path,
    tmp_path: Path,
    small: Callable[..., TrainConfig],
    recorder: Recorder,
    height: int,
    image_size: int,
    expected: tuple[int, int],
) -> None:
    oblong = tmp_path / "prepared"
    shutil.copytree(prepared, oblong)
    manifest = read_json(oblong / "manifest.json")
    for domain in manifest["domains"]:
        np.save(oblong / f"{domain}.npy", np.load(oblong / f"{domain}.npy")[:, :height])
    write_json(oblong / "manifest.json", manifest | {"height": height})
    config = small(epochs=1, decay_epochs=0, samples=3, image_size=image_size)  # crops of 32 px
    train(oblong, tmp_path / "model", config, checkpoints=str(tmp_path / "c"))
    height, width = expected
    picture = recorder.pictures["samples/AtoB", 1]
    cell = (1200 - 4 * GAP) // 3
    tall = round(cell * height / width)
    assert picture.shape == (LINE + 3 * (tall + GAP) + GAP, 1200, 3)
    if not image_size:
        first = np.load(oblong / "testA.npy")[0].astype(int)
        shown = Image.fromarray(picture[LINE : LINE + tall, GAP : GAP + cell]).resize((width, height))
        assert np.abs(np.asarray(shown, dtype=int) - first).mean() < 8  # another image differs by 40 or more
    assert read_json(tmp_path / "model" / "config.json")["image_size"] == [height, width]


def test_one_ctrl_c_is_enough_before_the_updates(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    # no real signal: one raised within a worker of pytest-xdist has ended the worker now and then
    usual = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def firewalled(*_: object) -> None:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == usual
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "load_weights", firewalled)
    with pytest.raises(KeyboardInterrupt):
        train(prepared, tmp_path / "model", small(), checkpoints=str(tmp_path / "c"))
