"""What outlives a version: model folders, checkpoints, and the key that tells whose checkpoints they are."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cyclegan.data.config import PreprocessConfig
from cyclegan.data.prepared import Manifest
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.fields import deciding, indifferent, role
from cyclegan.inference.translator import load
from cyclegan.io.files import read_json, write_json
from cyclegan.model import FORMAT, load_generator, load_model
from cyclegan.training.checkpoints import checkpoints
from cyclegan.training.checkpoints.checkpoints import _digest
from cyclegan.training.checkpoints.fingerprint import decisive
from cyclegan.training.checkpoints.record import Best, Progress
from cyclegan.training.config import TrainConfig
from cyclegan.training.train import train

MODELS = Path(__file__).parent / "models"
"""A model folder of each format there has been, all with the same weights."""


def picture() -> torch.Tensor:
    ramp = torch.linspace(-1, 1, 16)
    return torch.stack([ramp.expand(16, 16), ramp[:, None].expand(16, 16), torch.zeros(16, 16)])[None]


@pytest.mark.parametrize("folder", sorted(MODELS.iterdir()), ids=lambda folder: folder.name)
def test_models_of_every_former_format_load_and_give_the_same_pictures(folder: Path) -> None:
    model = load_model(folder)
    # what the code that wrote them made of the picture
    AtoB = [-0.19782, -0.017835, 0.024764, 0.044423, 0.009915, -0.090861, -0.064732, 0.011201]
    BtoA = [0.200982, 0.009855, 0.105798, 0.097865, 0.017591, 0.114511, 0.452503, -0.020994]
    for generator, expected in (
        (model.AtoB, AtoB),
        (model.BtoA, BtoA),
        (load_generator(folder, "BtoA")[0], BtoA),
    ):
        found = generator(picture())[0, :, ::5, ::7].flatten()[:8]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=2e-5)
    assert (folder.name == "format-0") == ("format" not in model.config)
    assert model.config["train"]["seed"] == 0
    assert model.test_size(40, 50) == ((32, 32) if folder.name == "format-0" else (64, 64))


def test_there_is_a_model_of_the_present_format() -> None:
    assert (MODELS / f"format-{FORMAT}").is_dir(), "keep one, so that versions to come can prove they read it"


def altered(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a model folder with another config.json."""
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "format-1", folder, dirs_exist_ok=True)
    config = read_json(folder / "config.json")
    change(config)
    write_json(folder / "config.json", config)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=FORMAT + 1), f"has format {FORMAT + 1} and this version reads up to"),
        (lambda c: c.update(format="1"), "format is of the wrong kind"),
        (lambda c: c.update(epochs=True), "epochs is of the wrong kind"),
        (lambda c: c.update(data=[]), "data is of the wrong kind"),
        (lambda c: c.update(image_size=[0, 4]), "image_size is not a height and width"),
        (lambda c: c.update(image_size=[4, 4, 4]), "image_size is not a height and width"),
        (lambda c: c.pop("generator"), "generator is missing"),
        (lambda c: c["generator"].pop("name"), "generator has no name"),
        (lambda c: c["generator"].update(blocks=10**9), "blocks = 1000000000 must be between"),
        (lambda c: c["generator"].update(width=2.0), "width is neither a number nor a word"),
        (lambda c: c["generator"].update(name="resnet9"), "cannot be built: There is no generator 'resnet9'"),
        (lambda c: c["generator"].update(depth=3), "cannot be built"),
        (lambda c: c["generator"].update(norm="batch"), "norm = 'batch' is not one of instance, layer"),
        (lambda c: c["generator"].update(width=2048), "does not fit its architecture"),
        (lambda c: c["generator"].update(blocks=2), "does not fit its architecture"),
    ],
)
def test_a_config_that_is_none_is_one_sentence(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = altered(tmp_path, change)
    for read in (load_model, load):
        with pytest.raises(UsageError, match=message) as refused:
            read(folder)  # type: ignore[operator]
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000])
def test_a_config_that_is_no_mapping_is_one_sentence(tmp_path: Path, content: str) -> None:
    folder = altered(tmp_path, lambda config: None)
    (folder / "config.json").write_text(content)
    with pytest.raises(UsageError, match="is damaged"):
        load_model(folder)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = altered(tmp_path, lambda config: None)
    weights = load_file(folder / "BtoA.safetensors")
    weights["up.0.weight"][0, 0, 0, 0] = torch.nan
    save_file(weights, folder / "BtoA.safetensors")
    with pytest.raises(UsageError, match=r"not finite \(BtoA, up\.0\.weight\)"):
        load_model(folder)
    load(folder, "AtoB")  # which is sound


# --- whose checkpoints: only what differs from the defaults counts, so the defaults below must never change
# without a new KEY_FORMAT. A new field gets a line here, and only that.

DEFAULTS = {
    "generator": "vgg_unet",
    "blocks": 9,
    "depth": 7,
    "width": 64,
    "upsample": "transposed",
    "norm": "instance",
    "weights": "imagenet",
    "weights_partial": False,
    "init": "",
    "discriminator": "strided",
    "discriminator_layers": 3,
    "discriminator_width": 64,
    "discriminator_norm": "same",
    "objective": "least_squares",
    "lambda_cycle": 10.0,
    "lambda_identity": 1.0,
    "order": "generators_first",
    "discriminator_updates": "joint",
    "pool_size": 50,
    "crop_size": 256,
    "crop_width": 0,
    "flip": True,
    "diffaugment": "",
    "epoch_size": "larger",
    "batch_size": 1,
    "accumulation_steps": 1,
    "lr": 2e-4,
    "beta1": 0.5,
    "beta2": 0.999,
    "ema": 0.0,
    "seed": 0,
    "precision": "auto",
}


def key(config: TrainConfig, preprocess: dict[str, Any] | None = None, **changes: Any) -> str:
    subset = {"count": 7, "names": []}
    settings = asdict(PreprocessConfig()) | (preprocess or {})
    facts: dict[str, Any] = {"version": "0" * 32, "paired": False, "height": 286, "width": 286}
    manifest = Manifest(
        **facts | {"domains": {"trainA": subset, "trainB": subset}, "config": settings} | changes
    )
    return decisive(asdict(config), asdict(manifest), "torch.float32")


def test_defaults_that_decide_a_run_stay_what_they_are() -> None:
    found = {one.name: one.default for one in dataclasses.fields(TrainConfig) if role(one) == "weights"}
    assert found == DEFAULTS
    assert key(TrainConfig()) == "3768582e9f9d"
    assert key(TrainConfig(lr=1e-3, crop_size=0)) == "0308cb95c45f"


def test_a_new_field_with_its_default_keeps_every_key() -> None:
    added: Any = [("novelty", int, 0), ("idle", int, indifferent(0))]
    later = make_dataclass("Later", added, bases=(TrainConfig,), frozen=True, kw_only=True)
    values = asdict(TrainConfig(seed=3))
    assert deciding(later, values | {"novelty": 0, "idle": 5}) == deciding(TrainConfig, values) == {"seed": 3}
    assert deciding(later, values | {"novelty": 1}) == {"seed": 3, "novelty": 1}
    assert deciding(TrainConfig, values | {"novelty": 1}) == {"seed": 3, "novelty": 1}


def test_the_data_is_part_of_the_key() -> None:
    plain = TrainConfig()
    same = key(plain)
    others = [
        key(plain, version="1" * 32),
        key(plain, height=300),
        key(plain, domains={"trainA": {"count": 8}, "trainB": {"count": 7}}),
        key(plain, {"aspect": "crop"}),
        key(plain, decoding="2"),
        key(plain, {"drop_test_duplicates": True}),
    ]
    assert len({same, *others}) == 7
    assert key(plain, {"workers": 3, "max_bad_share": 0.5, "version": "0" * 32}) == same
    assert key(plain, rejected=[{"file": "a.png", "reason": "no image"}]) == same


# --- checkpoints


def saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


def rewrite(path: Path, *, step: int | None = None, **metadata: str) -> Path:
    """The checkpoint at `path` with other metadata, under a name with the right checksum."""
    from safetensors import safe_open
    from safetensors.torch import save

    with safe_open(path, "pt") as opened:
        former = opened.metadata()
    data = save(load_file(path), {**former, **metadata})
    number = path.name.split("-")[0] if step is None else f"{step:010d}"
    path.unlink()
    path = path.with_name(f"{number}-{_digest(data)}.safetensors")
    path.write_bytes(data)
    return path


def test_a_checkpoint_of_a_newer_format_is_refused_in_one_sentence(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig]
) -> None:
    config = small(epochs=1, decay_epochs=0)
    train(prepared, tmp_path / "m", config, checkpoints=str(tmp_path / "c"))
    rewrite(saved(tmp_path / "c")[-1], format=str(checkpoints.FORMAT + 1))
    with pytest.raises(
        CycleGANError, match=r"has format 2 and this version reads up to 1: update"
    ) as refused:
        train(prepared, tmp_path / "m", config, checkpoints=str(tmp_path / "c"))
    assert "\n" not in str(refused.value)


def test_foreign_content_with_the_right_checksum_is_skipped(
    prepared: Path, tmp_path: Path, small: Callable[..., TrainConfig], caplog: pytest.LogCaptureFixture
) -> None:
    config, folder = small(epochs=2, decay_epochs=0), tmp_path / "c"
    train(prepared, tmp_path / "m", config, checkpoints=str(folder))
    expected = (tmp_path / "m" / "AtoB.safetensors").read_bytes()
    wider = tmp_path / "wider"
    train(prepared, tmp_path / "w", replace(config, width=8), checkpoints=str(wider))
    whole = saved(folder)[-1].read_bytes()
    own = saved(folder)[-1].parent
    foreign = saved(wider)[-1].read_bytes()

    def put(data: bytes, step: int = 14) -> None:
        for former in own.glob("*.safetensors"):
            former.unlink()
        (own / f"{step:010d}-{_digest(data)}.safetensors").write_bytes(data)

    def resumed() -> str:
        caplog.clear()
        train(prepared, tmp_path / "n", config, checkpoints=str(folder))
        assert (tmp_path / "n" / "AtoB.safetensors").read_bytes() == expected
        return caplog.text

    put(foreign)
    assert "Skipping the checkpoint of update 14, which does not fit" in resumed()
    put(b"\x10" + bytes(7) + b"{}".ljust(16))
    assert "says neither its format" in resumed()
    put(whole, step=13)
    assert "its name says update 13, its content 14" in resumed()
    put(whole)
    rewrite(saved(folder)[-1], progress=json.dumps({"step": 14, "curves": "none"}))
    assert "is damaged" in resumed()
    put(whole)
    rewrite(saved(folder)[-1], step=10**9, progress=json.dumps({"step": 10**9}))
    assert "further than this run" in resumed()


def test_the_record_of_a_run_comes_back_from_json() -> None:
    progress = Progress(7, {"D_A": 0.25}, [[7, 0.25, 2e-4]], 3.5, Best(0.5, 2), 1, "run", 2, False)
    assert Progress.from_json(json.loads(json.dumps(progress.to_json()))) == progress
    assert Progress.from_json({"step": 3, "of_a_later_version": 1}) == Progress(step=3)
    with pytest.raises(ValueError, match="step"):
        Progress.from_json({"step": "far"})
    with pytest.raises(ValueError, match="JSON compliant"):
        Progress.from_json({"images_per_second": 10**400})  # infinite as a float
