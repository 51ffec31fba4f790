"""The discriminator that sees through VGG-16: what it sees, what of it learns, how its heads count."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.networks import PerceptualDiscriminator
from cyclegan.networks.discriminators.perceptual import VggFeatures

if TYPE_CHECKING:
    from torchvision.models import VGG

MEAN, DEVIATION = (
    torch.tensor(values).view(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
)


@pytest.fixture(scope="module")
def vgg16() -> VGG:
    """torchvision's, with random weights and biases."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    network = vgg16(weights=None)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            nn.init.normal_(layer.bias, 0, 0.1)
    return network


@pytest.fixture
def judge(vgg16: VGG) -> PerceptualDiscriminator:
    torch.manual_seed(0)
    judge = PerceptualDiscriminator(layers=1, width=4, norm="none")
    judge.vgg.load_vgg_(vgg16.state_dict())
    return judge


@torch.no_grad()
def test_it_sees_the_activations_of_torchvisions_vgg16(vgg16: VGG) -> None:
    ours = VggFeatures()
    ours.load_vgg_(vgg16.state_dict())
    images = torch.rand(2, 3, 48, 32)
    for found, depth, scale in zip(ours(images * 2 - 1), (9, 16), ours.scale, strict=True):
        expected = vgg16.features[:depth]((images - MEAN) / DEVIATION)
        torch.testing.assert_close(found * scale, expected, rtol=1e-4, atol=1e-5)
        noise = torch.randn(1, 3, 96, 96)
        assert float(scale) == pytest.approx(
            float(vgg16.features[:depth](noise).square().mean().sqrt()), rel=0.1
        )


def test_weights_of_any_range_look_alike(vgg16: VGG) -> None:
    """The first layer of a network that was trained for values of 0 to 255 is 57 times as large."""
    larger = {
        name: value * (57 if "features.0." in name else 1) for name, value in vgg16.state_dict().items()
    }
    for bias in (name for name in larger if name.endswith("bias") and "features.0." not in name):
        larger[bias] = larger[bias] * 57
    small, large = VggFeatures(), VggFeatures()
    small.load_vgg_(vgg16.state_dict())
    large.load_vgg_(larger)
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    for one, other in zip(small(images), large(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_photographs_are_of_about_1_with_the_real_weights(real_weights: Path, real_data: Path) -> None:
    import zipfile

    vgg = VggFeatures()
    vgg.load_vgg_(torch.load(real_weights / "vgg16-imagenet-blocks1-3.pth", weights_only=True))
    with zipfile.ZipFile(real_data / "monet2photo.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))][::200]
        arrays = [np.array(Image.open(archive.open(name)).convert("RGB")) for name in names]
    assert len(arrays) >= 3
    for array in arrays:
        image = torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1
        assert all(0.3 < float(found.square().mean().sqrt()) < 3 for found in vgg(image))


def test_vgg16_is_saved_and_never_trained(judge: PerceptualDiscriminator) -> None:
    assert not [name for name, _ in judge.named_parameters() if name.startswith("vgg")]
    kept = {name: value.clone() for name, value in judge.state_dict().items() if name.startswith("vgg")}
    assert len(kept) == 2 * 7 + 1 and sum(map(torch.numel, kept.values())) == 1_735_488 + 2
    optimiser = torch.optim.Adam(judge.parameters(), lr=0.1)
    judge(torch.rand(1, 3, 32, 32)).square().mean().backward()
    optimiser.step()
    assert all(torch.equal(judge.state_dict()[name], value) for name, value in kept.items())
    other = PerceptualDiscriminator(layers=1, width=4, norm="none")
    other.load_state_dict(judge.state_dict())
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(other(images), judge(images))


@pytest.mark.parametrize("size", [(112, 112), (96, 160), (68, 84), (16, 20)])
def test_all_heads_count_alike_at_any_size(judge: PerceptualDiscriminator, size: tuple[int, int]) -> None:
    heads = {"pixels": judge.pixels.body[-1], "fine": judge.fine[-1], "coarse": judge.coarse[-1]}
    heads["whole"] = judge.whole[-1]
    for value, layer in enumerate(heads.values(), 1):
        assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, value)
    scores = judge(torch.rand(2, 3, *size) * 2 - 1)
    assert scores.shape == (2, 4, size[0] // 4, size[1] // 4)
    assert scores.mean().item() == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert [float(scores.detach()[:, head].std()) for head in range(4)] == [0] * 4


def test_every_head_tells_the_image_how_to_change(judge: PerceptualDiscriminator) -> None:
    for head in range(4):
        image = (torch.rand(1, 3, 64, 64) * 2 - 1).requires_grad_()
        judge(image)[:, head].square().mean().backward()
        assert image.grad is not None and image.grad.isfinite().all() and image.grad.abs().max() > 0


def test_channels_without_deviation_leave_gradients_finite(
    judge: PerceptualDiscriminator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        even = x.mean((1, 2, 3), keepdim=True)
        return even.expand(-1, 128, 32, 32), even.expand(-1, 256, 16, 16)

    monkeypatch.setattr(judge.vgg, "forward", forward)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    judge(image).square().mean().backward()
    assert image.grad is not None and image.grad.isfinite().all()


@torch.no_grad()
def test_one_head_sees_what_there_is_and_not_where(
    judge: PerceptualDiscriminator, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, quarter = torch.rand(1, 128, 32, 32), torch.rand(1, 256, 16, 16)
    image = torch.rand(1, 3, 64, 64)

    def scores(half: Tensor, quarter: Tensor) -> Tensor:
        monkeypatch.setattr(judge.vgg, "forward", lambda x: (half, quarter))
        found: Tensor = judge(image)
        return found[0]

    here = scores(half, quarter)
    moved = scores(half.roll((6, 10), (2, 3)), quarter.roll((3, 5), (2, 3)))
    other = scores(half.square(), quarter)
    torch.testing.assert_close(moved[3], here[3])
    assert not torch.allclose(moved[1], here[1]) and not torch.allclose(moved[2], here[2])
    assert not torch.allclose(other[3], here[3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.14.weight": None}, r"features\.14\.weight of VGG-16 is missing"),
        (
            {"features.5.bias": torch.zeros(64)},
            r"features\.5\.bias of VGG-16 is missing or has another shape",
        ),
        ({"features.0.weight": torch.zeros(64, 3, 3, 3, dtype=torch.int64)}, r"features\.0\.weight"),
    ],
)
def test_other_weights_are_refused(vgg16: VGG, change: dict[str, Tensor | None], message: str) -> None:
    state = {name: value for name, value in {**vgg16.state_dict(), **change}.items() if value is not None}
    with pytest.raises(UsageError, match=message):
        VggFeatures().load_vgg_(state)
