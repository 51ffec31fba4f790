"""One update against a plain re-derivation from the equations, in float64."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.flop_counter import FlopCounterMode

from cyclegan.networks import build_discriminator, build_generator
from cyclegan.networks.discriminators.diffaugment import NUMBERS
from cyclegan.training.config import DIFFAUGMENT
from cyclegan.training.updates.image_pool import ImagePool
from cyclegan.training.updates.update import TERMS, VIEWS, Networks, Update

LR, BETAS = 2e-4, (0.5, 0.999)


def networks(norm: str = "instance", discriminator: str = "patchgan") -> Networks:
    torch.manual_seed(0)
    generator = {"blocks": 2, "width": 6, "norm": norm}
    pair = [build_generator("resnet", **generator) for _ in range(2)]
    judges = [build_discriminator(discriminator, width=6, norm=norm) for _ in range(2)]
    return Networks(*pair, *judges).double()


def adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=LR, betas=BETAS)


def images(batch: int = 2, size: int = 32) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(1)
    return tuple(
        torch.rand(batch, 3, size, size, generator=chance, dtype=torch.float64) * 2 - 1 for _ in "ab"
    )  # type: ignore[return-value]


def update_of(n: Networks, *, batch: int = 2, slots: int = 0, **options: object) -> Update:
    buffers = [ImagePool(batch, slots, 32, 32, torch.device("cpu")) for _ in range(2)]
    for buffer in buffers:
        buffer.images = buffer.images.double()
    return Update(n, adam(n.generator_parameters()), adam(n.discriminator_parameters()), *buffers, **options)  # type: ignore[arg-type]


def adam_by_hand(weights: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
    """The first step of Kingma and Ba's algorithm 1: both moments start at 0, so their corrections cancel."""
    return [w - LR * g / (g.square().sqrt() + 1e-8) for w, g in zip(weights, gradients, strict=True)]


def set_weights(parameters: list[torch.nn.Parameter], values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def plainly(
    n: Networks, a: Tensor, b: Tensor, *, cycle: float, identity: float, first: str, joint: bool, kind: str,
    see: Callable[[str, int, int, Tensor], Tensor] = lambda domain, view, place, image: image,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """The update as the equations state it: an image at a time, no batching, an own Adam.

    `see` is what a domain's discriminator is shown of the image in this place of the batch.
    """
    G, F, D_A, D_B = n.AtoB, n.BtoA, n.D_A, n.D_B

    def gan(score: Tensor, target: float) -> Tensor:
        if kind == "least_squares":
            return ((score - target) ** 2).mean()
        return binary_cross_entropy_with_logits(score, torch.full_like(score, target))

    def mean(values: list[Tensor]) -> Tensor:
        return sum(values[1:], values[0]) / len(values)

    def generators() -> list[Tensor]:
        terms = []
        for i, (x, y) in enumerate(zip(a.split(1), b.split(1), strict=True)):
            terms.append(
                [
                    *(gan(D_B(see("B", 0, i, G(x))), 1.0), gan(D_A(see("A", 0, i, F(y))), 1.0)),
                    *((F(G(x)) - x).abs().mean(), (G(F(y)) - y).abs().mean()),
                    *((F(x) - x).abs().mean(), (G(y) - y).abs().mean()),
                ]
            )
        t = [mean(list(column)) for column in zip(*terms, strict=True)]
        loss = t[0] + t[1] + cycle * (t[2] + t[3]) + identity * (t[4] + t[5])
        gradients = torch.autograd.grad(loss, n.generator_parameters())
        set_weights(n.generator_parameters(), adam_by_hand(n.generator_parameters(), list(gradients)))
        return t if identity else [*t[:4], torch.zeros(()), torch.zeros(())]

    def discriminators(fake_a: Tensor, fake_b: Tensor) -> list[Tensor]:
        def seen_all(domain: str, view: int, batch: Tensor) -> Tensor:
            return torch.cat([see(domain, view, i, image) for i, image in enumerate(batch.split(1))])

        shown_a, shown_b = seen_all("A", 1, a), seen_all("B", 1, b)
        fake_a, fake_b = seen_all("A", 2, fake_a), seen_all("B", 2, fake_b)

        def losses() -> list[Tensor]:
            pairs = [(D_A, shown_a, 1.0), (D_B, shown_b, 1.0), (D_A, fake_a, 0.0), (D_B, fake_b, 0.0)]
            return [mean([gan(D(x), t) for x in some.split(1)]) for D, some, t in pairs]

        def scores() -> list[Tensor]:
            return [D(x).mean() for D, x in ((D_A, shown_a), (D_A, fake_a), (D_B, shown_b), (D_B, fake_b))]

        weights = n.discriminator_parameters()
        if joint:
            real_a, real_b, fake_of_a, fake_of_b = losses()
            seen = scores()
            gradients = torch.autograd.grad((real_a + fake_of_a) / 2 + (real_b + fake_of_b) / 2, weights)
            set_weights(weights, adam_by_hand(weights, list(gradients)))
        else:
            judges = adam(weights)  # its second step has moments, which torch's own Adam keeps best
            real_a, real_b, _, _ = losses()
            real_scores = scores()
            for p, g in zip(weights, torch.autograd.grad(real_a + real_b, weights), strict=True):
                p.grad = g
            judges.step()
            _, _, fake_of_a, fake_of_b = losses()
            seen = [real_scores[0], scores()[1], real_scores[2], scores()[3]]
            for p, g in zip(weights, torch.autograd.grad(fake_of_a + fake_of_b, weights), strict=True):
                p.grad = g
            judges.step()
        return [(real_a + fake_of_a) / 2, (real_b + fake_of_b) / 2, *seen]

    with torch.no_grad():
        fake_a, fake_b = F(b), G(a)
    if first == "generators_first":
        of_generators = generators()
        return [*of_generators, *discriminators(fake_a, fake_b)]
    of_discriminators = discriminators(fake_a, fake_b)
    return [*generators(), *of_discriminators]


def by_hand(x: Tensor, u: list[float]) -> Tensor:
    """Color, translation and cutout of one image 1×3×H×W, from arXiv 2006.10738, by slices alone."""
    x = x + (u[0] - 0.5)
    x = x.mean(1, keepdim=True) + 2 * u[1] * (x - x.mean(1, keepdim=True))
    x = x.mean() + (0.5 + u[2]) * (x - x.mean())
    height, width = x.shape[2:]
    canvas = torch.nn.functional.pad(x, [width, width, height, height])
    reach_y, reach_x = round(height / 8), round(width / 8)
    top = height - reach_y + int(u[3] * (2 * reach_y + 1))
    left = width - reach_x + int(u[4] * (2 * reach_x + 1))
    x = canvas[:, :, top : top + height, left : left + width].clone()
    tall, wide = round(height / 2), round(width / 2)
    middle_y, middle_x = int(u[5] * (height + 1 - tall % 2)), int(u[6] * (width + 1 - wide % 2))
    top, left = middle_y - tall // 2, middle_x - wide // 2
    keep = torch.ones_like(x)
    keep[:, :, max(top, 0) : top + tall, max(left, 0) : left + wide] = 0
    return x * keep


@pytest.mark.parametrize(("order", "parts"), [("generators_first", 1), ("discriminators_first", 2)])
@pytest.mark.parametrize("updates", ["joint", "separate"])
def test_discriminators_see_real_images_and_translations_augmented(
    order: str, updates: str, parts: int
) -> None:
    a, b = images()
    chance = torch.Generator().manual_seed(2)
    u = {d: torch.rand(2, VIEWS, NUMBERS, generator=chance, dtype=torch.float64) for d in "AB"}
    ours = networks()
    theirs = copy.deepcopy(ours).eval()
    update = update_of(ours, lambda_cycle=10.0, lambda_identity=1.0, order=order, accumulation_steps=parts,
                       discriminator_updates=updates, augmentations=DIFFAUGMENT)  # fmt: skip
    rows = torch.zeros(2, 3, dtype=torch.int64)

    terms = update(a, b, rows, rows, u["A"], u["B"])
    expected = plainly(
        theirs, a, b, cycle=10.0, identity=1.0, first=order, joint=updates == "joint", kind="least_squares",
        see=lambda domain, view, place, image: by_hand(image, u[domain][place, view].tolist()),
    )  # fmt: skip

    assert close(terms, torch.stack([t.detach().double() for t in expected]))
    for name, value in ours.state_dict().items():
        assert _is_cancelled(ours, name) or close(value, theirs.state_dict()[name]), name


def close(actual: Tensor, expected: Tensor) -> bool:
    return torch.allclose(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("first", "updates", "identity", "kind", "norm"),
    [
        ("generators_first", "joint", 5.0, "least_squares", "instance"),
        ("generators_first", "joint", 0.0, "least_squares", "instance"),
        ("discriminators_first", "separate", 1.0, "least_squares", "layer"),
        ("generators_first", "separate", 1.0, "vanilla", "instance"),
        ("discriminators_first", "joint", 0.0, "vanilla", "layer"),
    ],
)
def test_update_follows_the_equations(
    first: str, updates: str, identity: float, kind: str, norm: str
) -> None:
    a, b = images()
    ours = networks(norm, "strided" if norm == "layer" else "patchgan")
    theirs = copy.deepcopy(ours).eval()  # which adds every bias
    update = update_of(ours, lambda_cycle=10.0, lambda_identity=identity, objective=kind, order=first,
                       discriminator_updates=updates)  # fmt: skip
    rows = torch.zeros(2, 3, dtype=torch.int64)

    terms = update(a, b, rows, rows)
    expected = plainly(
        theirs, a, b, cycle=10.0, identity=identity, first=first, joint=updates == "joint", kind=kind
    )

    assert len(terms) == len(TERMS)
    assert close(terms, torch.stack([t.detach().double() for t in expected]))
    for name, value in ours.state_dict().items():
        # A bias before a normalisation has no effect, so its gradient is rounding; Adam makes ±LR of that in
        # the plain derivation, and ours leaves it alone.
        if norm == "instance" and _is_cancelled(ours, name):
            assert not value.any(), name
        else:
            assert close(value, theirs.state_dict()[name]), name


def _is_cancelled(n: Networks, name: str) -> bool:
    """Whether `name` is the bias of a convolution that an instance norm follows at once."""
    path, _, kind = name.rpartition(".")
    parent, _, index = path.rpartition(".")
    if kind != "bias" or not index.isdecimal():
        return False
    siblings = n.get_submodule(parent)
    following = siblings[int(index) + 1 : int(index) + 2]  # type: ignore[index]
    return any(isinstance(layer, torch.nn.InstanceNorm2d) for layer in following)


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    a, b = images(batch=4)
    rows = torch.zeros(4, 3, dtype=torch.int64)
    for order in ("generators_first", "discriminators_first"):
        results = []
        for accumulation_steps in (1, 2):
            n = networks()
            update = update_of(
                n, batch=4, lambda_identity=1.0, order=order, accumulation_steps=accumulation_steps
            )
            results.append((update(a, b, rows, rows), n))
        (whole, n), (parts, m) = results
        assert close(parts, whole)
        for name, value in n.state_dict().items():
            if not _is_cancelled(n, name):
                assert close(m.state_dict()[name], value), name


def test_recomputing_activations_changes_nothing() -> None:
    a, b = images()
    rows = torch.zeros(2, 3, dtype=torch.int64)
    found = []
    for gradient_checkpointing in (False, True):
        n = networks()
        for generator in (n.AtoB, n.BtoA):
            generator.gradient_checkpointing = gradient_checkpointing  # type: ignore[assignment]
        update_of(n, lambda_identity=1.0)(a, b, rows, rows)
        found.append(n.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize(("identity", "tera"), [(5.0, 1.879), (0.0, 1.287)])
def test_an_update_computes_what_the_maths_needs_and_no_more(identity: float, tera: float) -> None:
    """resnet with 9 blocks at 256×256, batch 1; figures from counting the equations' terms by hand.

    Six (four) generator forwards of 99.1 GFLOP, each with a backward twice as dear; two discriminator
    forwards with a backward to their input; four with a whole backward.
    """
    with torch.device("meta"):
        n = Networks(
            *(build_generator("resnet", blocks=9) for _ in "GF"),
            *(build_discriminator("patchgan") for _ in "AB"),
        )
        empty = ImagePool(1, 0, 256, 256, torch.device("meta"))
        update = Update(
            n,
            # older versions of Adam read their step count, which a meta tensor does not have
            torch.optim.SGD(n.generator_parameters(), lr=0.1),
            torch.optim.SGD(n.discriminator_parameters(), lr=0.1),
            empty,
            empty,
            lambda_identity=identity,
        )
        image, rows = torch.empty(1, 3, 256, 256), torch.empty(1, 3, dtype=torch.int64)
        for order in ("generators_first", "discriminators_first"):
            update.order = order  # type: ignore[assignment]
            with FlopCounterMode(display=False) as counter:
                update(image, image, rows, rows)
            assert counter.get_total_flops() / 1e12 == pytest.approx(tera, abs=6e-4)


def test_one_pair_of_images_is_learned_by_heart() -> None:
    a, b = (x.float() for x in images(batch=1))
    torch.manual_seed(0)
    n = Networks(
        *(build_generator("resnet", blocks=1, width=16) for _ in range(2)),
        *(build_discriminator("patchgan", width=8, layers=1) for _ in range(2)),
    )
    empty = ImagePool(1, 0, 32, 32, torch.device("cpu"))
    generators = torch.optim.Adam(n.generator_parameters(), lr=1e-3, betas=BETAS)
    update = Update(n, generators, adam(n.discriminator_parameters()), empty, empty, lambda_identity=0.0)
    rows = torch.zeros(1, 3, dtype=torch.int64)
    coarse = [torch.nn.functional.interpolate(x[..., :4, :4], scale_factor=8) for x in (a, b)]
    terms = [update(*coarse, rows, rows) for _ in range(150)]
    cycle = [float(t[TERMS.index("cycle_A")] + t[TERMS.index("cycle_B")]) for t in terms]
    assert cycle[0] > 0.8
    assert min(cycle[-20:]) < 0.2


def test_frozen_discriminators_train_again_afterwards() -> None:
    n = networks()
    a, b = images()
    rows = torch.zeros(2, 3, dtype=torch.int64)
    before = [p.clone() for p in n.discriminator_parameters()]
    update_of(n)(a, b, rows, rows)
    assert all(p.requires_grad and p.grad is None for p in itertools.chain(n.parameters()))
    assert not all(torch.equal(p, q) for p, q in zip(n.discriminator_parameters(), before, strict=True))
