"""Shapes, sizes and what each network sees."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.model_config import WORDS
from cyclegan.networks import DISCRIMINATORS, VggUnet, build_discriminator, build_generator
from cyclegan.networks.norm import Norm, norm_layer
from cyclegan.networks.padding import ReflectionPad, at_any_size
from cyclegan.networks.resnet import Upsample
from tests.networks.vgg import vgg_state


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("vgg_unet", {}, 15_863_267),
        ("vgg_unet", {"norm": "layer"}, 15_858_359),
        ("resnet", {"blocks": 9}, 11_378_179),
        ("resnet", {"blocks": 6}, 7_837_699),
    ],
)
def test_generators_have_the_published_number_of_weights(name: str, options: dict, parameters: int) -> None:
    assert count(build_generator(name, **options)) == parameters


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [("strided", {}, 2_766_529), ("strided", {"norm": "layer"}, 2_764_743), ("patchgan", {}, 2_764_737)],
)
def test_discriminators_have_the_published_number_of_weights(
    name: str, options: dict, parameters: int
) -> None:
    assert count(build_discriminator(name, **options)) == parameters


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vgg_unet", {}),
        ("vgg_unet", {"norm": "layer"}),
        ("resnet", {"blocks": 1, "width": 4}),
        ("resnet", {"blocks": 1, "width": 4, "upsample": "resize", "norm": "layer"}),
        ("unet", {"depth": 4, "width": 4}),
    ],
)
def test_a_generator_keeps_the_size_and_treats_each_image_by_itself(name: str, options: dict) -> None:
    torch.manual_seed(0)
    generator = build_generator(name, **options)
    side = int(generator.multiple)  # type: ignore[arg-type]
    images = torch.rand(3, 3, 2 * side, 3 * side) * 2 - 1
    with torch.no_grad():
        together = generator(images)
        alone = torch.cat([generator(image[None]) for image in images])
    assert together.shape == images.shape
    assert together.abs().max() <= 1
    assert together.std() > 0.01
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)


def test_score_maps_have_the_published_sizes() -> None:
    image = torch.zeros(1, 3, 256, 256)
    with torch.no_grad():
        assert build_discriminator("patchgan")(image).shape == (1, 1, 30, 30)
        assert build_discriminator("strided")(image).shape == (1, 1, 16, 16)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_score_of_the_patchgan_sees_a_patch_of_this_side(layers: int, field: int) -> None:
    discriminator = build_discriminator("patchgan", layers=layers, width=2)
    # An instance norm sees the whole image; what the paper counts is what the convolutions see.
    for parent in list(discriminator.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.InstanceNorm2d):
                setattr(parent, name, nn.Identity())
    image = torch.rand(1, 3, 288, 288, requires_grad=True)
    scores = discriminator(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)) > 0
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    assert int(rows.max() - rows.min()) + 1 == field
    assert int(columns.max() - columns.min()) + 1 == field


def test_the_encoder_is_torchvisions_vgg16_on_imagenets_scale() -> None:
    from torchvision.models import vgg16

    theirs = vgg16(weights=None).features
    state = vgg_state()
    theirs.load_state_dict({name.removeprefix("features."): value for name, value in state.items()})
    ours = VggUnet()
    assert ours.load_vgg_(state) == []
    images = torch.rand(1, 3, 64, 64)
    normed = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    seen: list[Tensor] = []
    ours.encoder[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        ours(images * 2 - 1)
        expected = theirs(normed)
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4)


def test_incomplete_encoder_weights_need_consent() -> None:
    with pytest.raises(UsageError, match="6 of VGG-16's 13"):
        VggUnet().load_vgg_(vgg_state(blocks=3))
    missing = VggUnet().load_vgg_(vgg_state(blocks=3), partial=True)
    assert missing == [f"features.{i}" for i in (17, 19, 21, 24, 26, 28)]
    with pytest.raises(UsageError):
        VggUnet().load_vgg_({"conv.weight": torch.zeros(1)}, partial=True)


def test_real_partial_weights_load(real_weights) -> None:  # type: ignore[no-untyped-def]
    from cyclegan.training.pretrained import load_encoder

    generator = VggUnet()
    path = str(real_weights / "vgg16-imagenet-blocks1-3.pth")
    with pytest.raises(UsageError, match="weights_partial"):
        load_encoder([generator], path)
    load_encoder([generator], path, partial=True)
    state = torch.load(path, weights_only=True)
    convolutions = [layer for layer in generator.encoder.modules() if isinstance(layer, nn.Conv2d)]
    for layer, weight in zip(convolutions, list(state.values())[::2], strict=False):
        assert torch.equal(layer.weight, weight)


@pytest.mark.parametrize("spread", [1.0, 1e-2, 0.0])
def test_layer_norm_divides_by_deviation_plus_epsilon(spread: float) -> None:
    """keras-contrib: (x − mean) / (std + 1e-3), all channels together, each image by itself."""
    x = np.random.default_rng(0).normal(0.3, 1, (2, 4, 5, 6)) * spread
    layer = norm_layer("layer", 4, affine=True).double()
    with torch.no_grad():
        layer.weight.fill_(1.5)
        layer.bias.fill_(-0.25)
    images = torch.from_numpy(x).requires_grad_()
    out = layer(images)
    expected = [(image - image.mean()) / (image.std() + 1e-3) * 1.5 - 0.25 for image in x]
    np.testing.assert_allclose(out.detach().numpy(), np.stack(expected), atol=1e-5 if not spread else 1e-9)
    out.square().sum().backward()
    assert images.grad is not None and images.grad.isfinite().all()
    assert layer(images.detach().to(torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("name", ["patchgan", "strided"])
def test_without_norm_a_discriminator_is_its_convolutions_and_activations(name: str) -> None:
    discriminator = build_discriminator(name, width=4, norm="none")  # in training mode, as discriminators are
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    x = images
    convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
    for layer in convolutions:
        nn.init.normal_(layer.bias)
        last = layer is convolutions[-1]
        if name == "strided" and last:
            x = nn.functional.pad(x, (1, 2, 1, 2))
        x = nn.functional.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)
        x = x if last else nn.functional.leaky_relu(x, 0.2)
    torch.testing.assert_close(discriminator(images), x)


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(UsageError, match="vgg_unet, resnet, unet"):
        build_generator("resnet9")
    with pytest.raises(UsageError, match="cannot be built"):
        build_discriminator("patchgan", depth=3)
    with pytest.raises(UsageError, match="no norm 'none'"):
        build_generator("resnet", norm="none")  # only discriminators go without


def mirrored(x: Tensor, size: int) -> Tensor:
    """numpy's reflection of the last two axes, which no network uses."""
    return torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), (size, size), (size, size)], mode="reflect"))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("deterministic", [False, True])
def test_padding_mirrors_without_repeating_the_edge(size: int, deterministic: bool) -> None:
    x = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    torch.use_deterministic_algorithms(deterministic)
    try:
        assert torch.equal(ReflectionPad(size)(x), mirrored(x, size))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_the_resnet_computes_what_the_paper_says_and_mirrors_at_its_edges(upsample: str) -> None:
    """c7s1, d, d, R × blocks, u, u, c7s1 (arXiv 1703.10593, section 7.2) once more, in plain functions."""
    torch.manual_seed(0)
    network = build_generator("resnet", blocks=2, width=4, upsample=upsample).double().eval()
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    for layer in layers:
        nn.init.normal_(layer.weight, 0, 0.2)
        nn.init.normal_(layer.bias, 0, 0.2)
    kernels = iter([(layer.weight.detach(), layer.bias.detach()) for layer in layers])

    def normed(x: Tensor) -> Tensor:
        return nn.functional.instance_norm(x)

    def padded(x: Tensor, size: int) -> Tensor:
        return nn.functional.conv2d(mirrored(x, size), *next(kernels))

    images = torch.rand(2, 3, 16, 20, dtype=torch.float64) * 2 - 1
    x = normed(padded(images, 3)).relu()
    for _ in range(2):
        x = normed(nn.functional.conv2d(x, *next(kernels), stride=2, padding=1)).relu()
    for _ in range(2):
        x = x + normed(padded(normed(padded(x, 1)).relu(), 1))
    for _ in range(2):
        if upsample == "resize":
            x = normed(padded(x.repeat_interleave(2, 2).repeat_interleave(2, 3), 1)).relu()
        else:
            bigger = nn.functional.conv_transpose2d(x, *next(kernels), stride=2, padding=1, output_padding=1)
            x = normed(bigger).relu()
    expected = padded(x, 3).tanh()
    with torch.no_grad():
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [1, 3])
def test_padding_in_deterministic_mode_is_the_same(size: int) -> None:
    torch.manual_seed(0)
    padding, weights = ReflectionPad(size), torch.rand(2, 3, 6 + 2 * size, 8 + 2 * size)
    found = []
    for deterministic in (False, True):
        x = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        torch.use_deterministic_algorithms(deterministic)
        try:
            padded = padding(x)
            (padded * weights).sum().backward()
        finally:
            torch.use_deterministic_algorithms(False)
        found.append((padded.detach(), x.grad))
    (plain, plain_gradient), (joined, joined_gradient) = found
    assert torch.equal(plain, joined)
    torch.testing.assert_close(plain_gradient, joined_gradient)


@pytest.mark.parametrize(
    ("name", "options", "size", "padded"),
    [
        ("resnet", {"blocks": 1, "width": 4}, (16, 24), (16, 24)),
        ("resnet", {"blocks": 1, "width": 4}, (17, 30), (20, 32)),
        ("resnet", {"blocks": 1, "width": 4}, (1, 3), (8, 8)),  # reflected more than once
        ("unet", {"depth": 4, "width": 4}, (16, 33), (16, 48)),
        ("vgg_unet", {}, (32, 45), (32, 64)),
    ],
)
def test_sizes_that_do_not_fit_are_reflected_and_cropped_back(
    name: str, options: dict, size: tuple[int, int], padded: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    generator, images = build_generator(name, **options).eval(), torch.rand(2, 3, *size) * 2 - 1
    spare = [whole - side for whole, side in zip(padded, size, strict=True)]
    sides = [(rest // 2, rest - rest // 2) for rest in spare]
    around = np.pad(images.numpy(), [(0, 0), (0, 0), *sides], mode="reflect")
    with torch.no_grad():
        (top, _), (left, _) = sides
        expected = generator(torch.from_numpy(around))[..., top : top + size[0], left : left + size[1]]
        assert torch.equal(at_any_size(generator, images), expected)


# What torch.use_deterministic_algorithms refuses to differentiate on CUDA, of what a network might use
REFUSED = ("ReflectionPad", "AdaptiveAvgPool", "AdaptiveMaxPool", "UpsampleBilinear", "UpsampleBicubic")


def backward_steps(output: Tensor) -> set[str]:
    """The names of all operations that the gradient of `output` would pass."""
    names: set[str] = set()
    seen, left = set(), [output.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.add(node.name())
            left += [function for function, _ in node.next_functions]
    return names


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vgg_unet", {}),
        ("resnet", {"blocks": 1, "width": 4}),
        ("resnet", {"blocks": 1, "width": 4, "upsample": "resize"}),
        ("unet", {"depth": 4, "width": 4}),
        ("patchgan", {"width": 4}),
        ("strided", {"width": 4}),
        ("perceptual", {"width": 4, "layers": 1}),
    ],
)
def test_a_gpu_can_train_every_network_in_deterministic_mode(name: str, options: dict) -> None:
    build = build_discriminator if name in DISCRIMINATORS else build_generator
    network, images = build(name, **options), torch.rand(1, 3, 32, 32)
    torch.use_deterministic_algorithms(True)
    try:
        steps = backward_steps(network(images))
    finally:
        torch.use_deterministic_algorithms(False)
    assert not [step for step in steps if step.startswith(REFUSED)]
    assert any(step.startswith("Convolution") for step in steps)
    if name == "resnet":  # otherwise torch's own padding, which the check above would have found
        assert any(step.startswith(REFUSED) for step in backward_steps(network(images)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet", {"blocks": 1, "width": 4}),
        ("resnet", {"blocks": 1, "width": 4, "upsample": "resize"}),
        ("resnet", {"blocks": 1, "width": 4, "norm": "layer"}),
        ("unet", {"depth": 4, "width": 4}),
        ("patchgan", {"width": 4}),
    ],
)
def test_a_bias_is_left_out_of_training_only_where_it_changes_nothing(name: str, options: dict) -> None:
    torch.manual_seed(0)
    build = build_discriminator if name in DISCRIMINATORS else build_generator
    network, images = build(name, **options).double(), torch.rand(2, 3, 32, 32).double() * 2 - 1
    biases = {key: p for key, p in network.named_parameters() if key.endswith("bias")}
    with torch.no_grad():
        for bias in biases.values():
            bias.normal_()
    trained = network.train()(images)
    torch.testing.assert_close(trained, network.eval()(images), rtol=1e-9, atol=1e-9)
    trained.sum().backward()
    idle = {key for key, bias in biases.items() if bias.grad is None}
    assert bool(idle) == (options.get("norm") != "layer")
    assert idle < biases.keys()


def test_a_models_config_may_say_what_the_networks_take() -> None:
    """model_config.py spells the words out, for it must not load torch."""
    assert {"norm": get_args(Norm), "upsample": get_args(Upsample)} == WORDS
