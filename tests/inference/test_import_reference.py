"""Generators of the reference implementation give the same pictures here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.inference.config import ImportConfig
from cyclegan.inference.import_reference import import_weights, reference_resnet
from cyclegan.inference.translator import load
from cyclegan.model import load_model, read_config
from cyclegan.registry.pages.card import model_card


class Block(nn.Module):
    def __init__(self, width: int, dropout: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        ]
        layers += [nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), nn.ReflectionPad2d(1)]
        self.conv_block = nn.Sequential(*layers, nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Reference(nn.Module):
    """The public layout of names: one Sequential called `model`."""

    def __init__(self, blocks: int, width: int, dropout: bool = False) -> None:
        super().__init__()
        w = width
        down = [nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7), nn.InstanceNorm2d(w), nn.ReLU()]
        for i in (1, 2):
            down += [nn.Conv2d(w * i, w * i * 2, 3, 2, 1), nn.InstanceNorm2d(w * i * 2), nn.ReLU()]
        middle = [Block(4 * w, dropout) for _ in range(blocks)]
        up: list[nn.Module] = []
        for i in (4, 2):
            up += [nn.ConvTranspose2d(w * i, w * i // 2, 3, 2, 1, output_padding=1)]
            up += [nn.InstanceNorm2d(w * i // 2), nn.ReLU()]
        self.model = nn.Sequential(*down, *middle, *up, nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


@pytest.mark.parametrize(("blocks", "width", "dropout"), [(9, 8, False), (6, 8, False), (6, 4, True)])
def test_a_reference_generator_gives_the_same_pictures(blocks: int, width: int, dropout: bool) -> None:
    theirs = Reference(blocks, width, dropout).eval()
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    state["module.model.2.running_mean"] = torch.randn(width)  # older versions kept these, and use none
    state["module.model.2.num_batches_tracked"] = torch.tensor(3)
    ours = reference_resnet(state)
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_files_become_a_model(tmp_path: Path) -> None:
    pair = {name: Reference(6, 4).eval() for name in ("A", "B")}
    for name, generator in pair.items():
        torch.save(generator.state_dict(), tmp_path / f"latest_net_G_{name}.pth")
    config = ImportConfig(
        AtoB=str(tmp_path / "latest_net_G_A.pth"), BtoA=str(tmp_path / "latest_net_G_B.pth"), image_size=32
    )
    import_weights(tmp_path / "model", config)
    model = load_model(tmp_path / "model")
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(model.AtoB(image), pair["A"](image))
        assert torch.equal(model.BtoA(image), pair["B"](image))
    assert model.config["image_size"] == 32


def test_what_is_no_reference_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not come from this implementation's --netG resnet"):
        reference_resnet({"features.0.weight": torch.zeros(1)})
    state = Reference(6, 4).state_dict()
    with pytest.raises(UsageError, match="does not fit"):
        reference_resnet({**state, "model.4.weight": torch.zeros(3, 3)})
    with pytest.raises(UsageError, match=r"model\.99"):
        reference_resnet({**state, "model.99.weight": torch.zeros(3, 3)})
    with pytest.raises(UsageError, match="no weights file"):
        import_weights(tmp_path / "m", ImportConfig(AtoB=str(tmp_path / "none.pth")))


def changed(**tensors: Tensor | None) -> dict[str, Tensor]:
    state: dict[str, Tensor | None] = {**Reference(6, 4).state_dict()}
    state.update({name.replace("__", "."): tensor for name, tensor in tensors.items()})
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("state", "option"),
    [
        ({"model.model.0.weight": torch.rand(64, 3, 4, 4)}, "--netG unet_128 or unet_256"),
        ({"model.0.weight": torch.rand(64, 3, 4, 4)}, "a discriminator"),
        (changed(model__2__weight=torch.ones(4), model__2__running_var=torch.ones(4)), "--norm batch"),
        (changed(model__2__weight=torch.ones(4)), "affine"),
        (changed(model__1__bias=None), "--norm none"),
        (changed(model__1__weight=torch.rand(4, 1, 7, 7)), "--input_nc 1"),
        (changed(model__23__bias=torch.rand(1)), "--output_nc 1"),
        (changed(model__1__weight=torch.ones(4, 3, 7, 7, dtype=torch.int8)), "whole numbers"),
    ],
)
def test_a_refusal_names_the_option_that_made_the_file(state: dict[str, Tensor], option: str) -> None:
    with pytest.raises(UsageError, match=f"^net_G_A.pth.*{option}") as refused:
        reference_resnet(state, "net_G_A.pth")
    assert str(refused.value).endswith(".")


def test_it_says_what_was_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for name, dropout in (("A", True), ("B", False)):
        torch.save(Reference(6, 4, dropout).state_dict(), tmp_path / f"{name}.pth")
    files = {"AtoB": str(tmp_path / "A.pth"), "BtoA": str(tmp_path / "B.pth")}
    import_weights(tmp_path / "model", ImportConfig(**files, image_size=32))
    assert f"AtoB is {files['AtoB']} and BtoA is {files['BtoA']}: resnet_6blocks, ngf 4" in caplog.text
    assert "unless it is called with --eval" in caplog.text
    torch.save(Reference(6, 8).state_dict(), tmp_path / "B.pth")
    with pytest.raises(UsageError, match="different widths"):
        import_weights(tmp_path / "model", ImportConfig(**files, image_size=32))


def test_one_file_becomes_a_model_of_one_direction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    theirs = Reference(6, 4).eval()
    torch.save(theirs.state_dict(), tmp_path / "latest_net_G_B.pth")
    model = tmp_path / "model"
    import_weights(model, ImportConfig(BtoA=str(tmp_path / "latest_net_G_B.pth"), image_size=32))
    assert "in this direction only" in caplog.text
    assert sorted(file.name for file in model.glob("*.safetensors")) == ["BtoA.safetensors"]
    translator = load(model, engine="torch", precision="fp32")
    assert translator.direction == "BtoA"
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)[0].permute(1, 2, 0)
    assert np.abs(translator.floats(image) - expected.numpy()).max() < 1e-5
    with pytest.raises(UsageError, match="has no generator AtoB, only BtoA"):
        load(model, "AtoB", engine="torch")
    with pytest.raises(UsageError, match="has no generator AtoB, only BtoA"):
        load_model(model)
    assert model_card(read_config(model))


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("hostile-was-here"),))  # type: ignore[return-value]


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model.1.weight": Hostile()}, tmp_path / "bad.pth")
    with pytest.raises(UsageError, match="not a weights file"):
        import_weights(tmp_path / "m", ImportConfig(AtoB=str(tmp_path / "bad.pth")))
    assert not (tmp_path / "hostile-was-here").exists()
