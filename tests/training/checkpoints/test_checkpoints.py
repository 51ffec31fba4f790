"""Which checkpoints are kept, which are resumed from and in which order: without any training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from cyclegan.errors import CycleGANError
from cyclegan.io.storage import FolderStore
from cyclegan.io.store import NotFound
from cyclegan.training.checkpoints.checkpoints import CURVES, FORMAT, Checkpoints, _digest
from cyclegan.training.checkpoints.fingerprint import fingerprint, parse
from cyclegan.training.checkpoints.record import Progress
from cyclegan.training.updates.schedule import Schedule

KEY = "0123456789ab"
PLAN = Schedule(10, 0)
OWN = fingerprint(KEY, PLAN)
STEPS = 7


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2,), float(step)), "other": torch.zeros(1, 3)}


def keep(store: FolderStore, *steps: int, folder: str = OWN) -> None:
    for step in steps:
        with Checkpoints(store, folder) as kept:
            kept.save(tensors(step), Progress(step))


def put(store: FolderStore, step: int, data: bytes, folder: str = OWN) -> str:
    key = f"{folder}/{step:010d}-{_digest(data)}.safetensors"
    store.write(key, data)
    return key


def written(
    step: int, weight: float | None = None, curves: torch.Tensor | None = None, **metadata: str
) -> bytes:
    facts = {"format": str(FORMAT), "progress": json.dumps({"step": step}), **metadata}
    content = tensors(step)
    if curves is not None:
        content[CURVES] = curves
    if weight is not None:
        content["weight"][1] = weight
    return save(content, {name: text for name, text in facts.items() if text})


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "kept")


def resumed(store: FolderStore, plan: Schedule = PLAN, folder: str = OWN) -> list[int]:
    """The steps that a run could resume from, in their order."""
    found = list(Checkpoints(store, folder).load(plan, STEPS))
    for content, progress in found:
        assert torch.equal(content["weight"], torch.full((2,), float(progress.step)))
    return [progress.step for _, progress in found]


def test_the_last_at_the_full_rate_is_kept_for_a_run_of_more_epochs(store: FolderStore) -> None:
    falling, longer = Schedule(3, 4), Schedule(6, 4)
    folder = fingerprint(KEY, falling)
    for step in (7, 14, 18, 21, 28, 35, 42):  # an epoch has 7 updates: the rate falls after 21
        with Checkpoints(store, folder, full_rate=21) as kept:
            kept.save(tensors(step), Progress(step))
    assert [found.step for found in Checkpoints(store, folder).all()] == [42, 35, 21]
    assert resumed(store, falling, folder) == [42, 35, 21]
    assert resumed(store, longer, fingerprint(KEY, longer)) == [21]


def test_the_last_two_are_kept_and_what_claims_to_be_further_goes(store: FolderStore) -> None:
    keep(store, 7, 14, 21)
    assert [found.step for found in Checkpoints(store, OWN).all()] == [21, 14]
    keep(store, 14)  # as after both were damaged: resumed from 7 and trained again
    assert [found.step for found in Checkpoints(store, OWN).all()] == [14]
    assert resumed(store) == [14]


def test_tensors_may_change_once_save_has_returned(store: FolderStore) -> None:
    content = tensors(7)
    with Checkpoints(store, OWN) as kept:
        kept.save(content, Progress(7))
        content["weight"].zero_()
    assert resumed(store) == [7]


def test_the_header_does_not_grow_with_the_run(store: FolderStore) -> None:
    """It may hold 100 MB, which long runs with many log lines would exceed: the curves are a tensor."""
    curves = [[float(step), 0.1 + step, 2e-4] for step in range(1000)]
    with Checkpoints(store, OWN) as kept:
        kept.save(tensors(7), Progress(7, curves=curves))
        kept.finish()
        assert int.from_bytes(store.read(kept.all()[0].key)[:8], "little") < 1000
        ((content, progress),) = kept.load(PLAN, STEPS)
    assert progress.curves == curves and content.keys() == tensors(7).keys()


def test_curves_in_the_header_are_read_as_earlier_versions_wrote_them(store: FolderStore) -> None:
    curves = [[3, 0.5, 2e-4], [6, 0.25, 2e-4]]
    put(store, 7, written(7, progress=json.dumps({"step": 7, "curves": curves})))
    ((_, progress),) = Checkpoints(store, OWN).load(PLAN, STEPS)
    assert progress.curves == curves


def test_what_is_not_finite_is_refused_and_the_one_before_it_stays(store: FolderStore) -> None:
    with pytest.raises(CycleGANError, match="After update 14 other is not finite"):
        with Checkpoints(store, OWN) as kept:
            kept.save(tensors(7), Progress(7))
            kept.save(tensors(14) | {"other": torch.tensor([0.0, float("nan")])}, Progress(14))
    assert resumed(store) == [7]


def test_a_checkpoint_that_cannot_be_written_is_an_error_of_the_run(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(key: str, data: bytes) -> None:
        raise CycleGANError("the disk is full")

    monkeypatch.setattr(store, "write", full)
    with pytest.raises(CycleGANError, match="disk is full"):
        with Checkpoints(store, OWN) as kept:
            kept.save(tensors(7), Progress(7))
    with pytest.raises(ZeroDivisionError):  # an error of the run itself is the one that is seen
        with Checkpoints(store, OWN) as kept:
            kept.save(tensors(7), Progress(7))
            raise ZeroDivisionError


def test_the_furthest_checkpoint_whose_schedule_was_the_same_comes_first(store: FolderStore) -> None:
    keep(store, 7, 14)
    others = {Schedule(3, 0): 21, Schedule(4, 4): 28, Schedule(2, 4): 21, Schedule(99, 0): 63}
    for plan, step in others.items():
        keep(store, step, folder=fingerprint(KEY, plan))
    keep(store, 70, folder=fingerprint("ba9876543210", PLAN))  # of other parameters
    store.write(f"{KEY}-notes/0000000035-0123456789abcdef.safetensors", b"")
    # the third one's rate fell in its last epoch; the others had the full rate until then
    assert resumed(store) == [63, 28, 21, 14, 7]
    # of a shorter run none may be further than it will go, to the epoch
    assert resumed(store, Schedule(4, 0), fingerprint(KEY, Schedule(4, 0))) == [28, 21, 14, 7]
    assert resumed(store, Schedule(3, 0), fingerprint(KEY, Schedule(3, 0))) == [21, 14, 7]


def test_other_runs_are_noticed(store: FolderStore) -> None:
    assert not Checkpoints(store, OWN).others()
    keep(store, 7)
    assert not Checkpoints(store, OWN).others()
    assert Checkpoints(store, "another-1-0-linear").others()


@pytest.mark.parametrize(
    ("step", "data", "said"),
    [
        (14, b"", "it says neither its format nor how far it is."),
        (14, b"\x10" + bytes(7) + b"{}".ljust(16), "it says neither its format nor how far it is."),
        (14, written(14, format=""), "it says neither its format nor how far it is."),
        (14, written(14, format="one"), "it says neither its format nor how far it is."),
        (14, written(14)[:-4], "Error while deserializing: .+"),
        (14, written(14, progress=""), "it does not say how far it is."),
        (14, written(14, progress="[]"), "its record of progress is not a mapping."),
        (14, written(13), "its name says update 14, its content 13."),
        (77, written(77), "it is further than this run will go."),
        (14, written(14, weight=float("inf")), "weight is not finite."),
        (14, written(14, curves=torch.zeros(3)), r"its curves are torch.float32 of the shape \(3,\)."),
        (14, written(14, curves=torch.zeros(1, 3).int()), r"its curves are torch.int32 of .+"),
    ],
)
def test_a_damaged_one_is_skipped_with_its_reason(
    store: FolderStore, caplog: pytest.LogCaptureFixture, step: int, data: bytes, said: str
) -> None:
    keep(store, 7)
    key = put(store, step, data)
    assert resumed(store) == [7]
    (record,) = caplog.records
    assert re.fullmatch(rf"Skipping checkpoint {key}, which is damaged: {said}", record.getMessage())


def test_a_checksum_that_does_not_fit_is_damage(store: FolderStore, caplog: pytest.LogCaptureFixture) -> None:
    keep(store, 7)
    store.write(f"{OWN}/0000000014-{'0' * 16}.safetensors", written(14))
    assert resumed(store) == [7]
    assert "does not have the checksum in its name" in caplog.text


def test_the_last_update_of_a_run_is_no_further_than_it_goes(store: FolderStore) -> None:
    keep(store, 70)
    assert resumed(store) == [70]


def test_one_that_vanishes_meanwhile_is_passed_in_silence(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep(store, 7, 14)
    read = store.read

    def reading(key: str) -> bytes:
        if "/0000000014-" in key:
            raise NotFound("it is gone")
        return read(key)

    monkeypatch.setattr(store, "read", reading)
    assert resumed(store) == [7] and not caplog.records


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (OWN, (KEY, PLAN)),
        ("x-100-50-cosine", ("x", Schedule(100, 50, "cosine"))),
        ("x-1-2-square", None),
        ("x-1-b-linear", None),
        ("x-1-2", None),
        ("x-1-2-linear-3", None),
        (f"x-1-{'9' * 10}-linear", None),
    ],
)
def test_a_name_says_its_schedule(name: str, found: tuple[str, Schedule] | None) -> None:
    assert parse(name) == found
    if found:
        assert fingerprint(*found) == name
