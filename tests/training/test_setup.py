"""What a configuration means for given data and a given machine: sizes, counts, names, config.json."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cyclegan.data.prepared import Prepared, write_provenance
from cyclegan.errors import UsageError
from cyclegan.model import library_versions
from cyclegan.runtime.distributed import Processes
from cyclegan.training.config import TrainConfig
from cyclegan.training.setup import Setup, describe, sampling_of
from cyclegan.training.updates.schedule import Schedule

Small = Callable[..., TrainConfig]
Make = Callable[..., Setup]


@pytest.fixture
def make(prepared: Path, small: Small) -> Make:
    """make(device=…, processes=…, initial=…, **fields): the setup of a small configuration."""

    def setup(
        *, device: str = "cpu", processes: Processes | None = None, initial: str = "", **fields: Any
    ) -> Setup:
        config, data, alone = small(**fields), Prepared.open(prepared), processes or Processes()
        schedule = Schedule(config.epochs, config.decay_epochs, config.decay)
        sampling = sampling_of(config, data, alone)
        return Setup(config, data, torch.device(device), torch.float32, 1, alone, sampling, schedule, initial)

    return setup


def test_counts_and_sizes(make: Make) -> None:
    setup = make(epochs=2, decay_epochs=3)
    assert (setup.steps, setup.total, setup.batch) == (7, 35, 1)
    assert (setup.size, setup.test_size) == ((32, 32), (40, 40))
    assert make(crop_size=24, crop_width=32).size == (24, 32)
    assert make(image_size=20).test_size == (20, 20)
    assert make(batch_size=4, processes=Processes(1, 2)).batch == 2


def test_the_shorter_side_of_test_images_becomes_image_size(make: Make, small: Small) -> None:
    square = make(image_size=30)
    manifest = replace(square.data.manifest, height=40, width=61)
    oblong = replace(square, data=replace(square.data, manifest=manifest))
    assert oblong.test_size == (30, 46)  # 61 · 30 / 40 = 45.75
    assert replace(oblong, config=small(image_size=0)).test_size == (40, 61)


@pytest.mark.parametrize(
    ("device", "world", "compile", "captured"),
    [
        ("cuda", 1, "auto", True),
        ("cuda", 1, "on", True),
        ("cuda", 1, "off", False),
        ("cuda", 2, "auto", False),
        ("cpu", 1, "auto", False),
    ],
)
def test_updates_are_captured_by_one_process_on_cuda(
    make: Make, device: str, world: int, compile: str, captured: bool
) -> None:
    setup = make(device=device, processes=Processes(0, world), batch_size=2, compile=compile)
    assert setup.captured is captured


def test_a_batch_that_processes_cannot_share_is_refused(make: Make) -> None:
    with pytest.raises(UsageError) as refused:
        make(batch_size=6, accumulation_steps=2, processes=Processes(0, 2))
    assert str(refused.value) == (
        "batch_size = 6 can't be divided among 2 processes, each of which computes it in 2 parts."
    )
    assert make(batch_size=8, accumulation_steps=2, processes=Processes(0, 2)).batch == 4


@pytest.mark.parametrize(("fields", "said"), [({"crop_size": 30}, "30×30"), ({"crop_width": 34}, "32×34")])
def test_sides_that_the_generator_does_not_take_are_refused(
    make: Make, fields: dict[str, int], said: str
) -> None:
    with pytest.raises(UsageError, match=f"^resnet takes images whose sides are multiples of 4, not {said}:"):
        make(**fields)


def test_the_image_pool_and_the_augmentation_are_planned_where_they_are_wanted(make: Make) -> None:
    plain = make(pool_size=5, batch_size=2).sampling
    assert plain.lane_slots == 3 and plain.plan(0).chance_a.numel() == 0
    assert make(diffaugment="color").sampling.plan(0).chance_a.numel() > 0


def test_weights_that_a_run_begins_with_are_part_of_its_name_and_their_address_is_not(make: Make) -> None:
    plain = make().fingerprint
    assert plain.endswith("-2-1-linear")
    assert make(init="runs/a", initial="digest").fingerprint == make(init="b", initial="digest").fingerprint
    assert len({plain, make(initial="digest").fingerprint, make(initial="another").fingerprint}) == 3
    assert make(seed=1).fingerprint != plain


def test_the_models_config_says_what_it_was_trained_on_and_how(make: Make, tmp_path: Path) -> None:
    setup = make(seed=3, image_size=20)
    facts = {"epochs": 2, "finished": False, "git_commit": "f" * 40, "run_id": "run"}
    assert describe(setup, **facts) == {  # type: ignore[arg-type]
        "generator": {
            "name": "resnet",
            "norm": "instance",
            "blocks": 1,
            "width": 4,
            "upsample": "transposed",
        },
        "image_size": [20, 20],
        "data": {"uri": "", "names": {"A": "A", "B": "B"}, "version": "0" * 32 + ".dir", "paired": False},
        "train": asdict(setup.config),
        "seed": 3,
        "versions": library_versions(),
        "epochs": 2,
        "finished": False,
        "git_commit": "f" * 40,
        "mlflow_run_id": "run",
    }


def test_no_password_of_the_datas_address_reaches_the_model(
    make: Make, prepared: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path / "named"))
    write_provenance(folder, "https://user:hunter2@example.org/x.zip", {"A": "horses", "B": "zebras"})
    setup = replace(make(), data=Prepared.open(folder))
    data = describe(setup, epochs=1, finished=True, git_commit=None, run_id=None)["data"]
    assert "hunter2" not in str(data) and "example.org" in str(data)
    assert data["names"] == {"A": "horses", "B": "zebras"}
