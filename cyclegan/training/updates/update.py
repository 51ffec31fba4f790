"""One update of both generators and both discriminators: the whole of CycleGAN's arithmetic.

Names follow arXiv 1703.10593 with G = `AtoB`, F = `BtoA`. Passes through one network are batched where they
can be: normalisation works on each image by itself, so that changes no result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import backward

from cyclegan.networks import Generator
from cyclegan.networks.discriminators.diffaugment import augment
from cyclegan.runtime.distributed import average_gradients
from cyclegan.training.updates.image_pool import ImagePool
from cyclegan.training.updates.losses import Objective, adversarial, l1

Order = Literal["generators_first", "discriminators_first"]
DiscriminatorUpdates = Literal["joint", "separate"]

# What an update reports, in this order. `real_A` and `fake_A` are D_A's mean scores.
TERMS = (
    *("adversarial_AtoB", "adversarial_BtoA", "cycle_A", "cycle_B", "identity_A", "identity_B"),
    *("D_A", "D_B", "real_A", "fake_A", "real_B", "fake_B"),
)


class Networks(nn.Module):
    """The four networks. `D_A` separates real images of A from translations B→A, `D_B` real B from A→B."""

    def __init__(self, AtoB: Generator, BtoA: Generator, D_A: nn.Module, D_B: nn.Module) -> None:
        super().__init__()
        self.AtoB, self.BtoA, self.D_A, self.D_B = AtoB, BtoA, D_A, D_B

    def generator_parameters(self) -> list[nn.Parameter]:
        """Of both generators, AtoB first, as the optimiser holds them."""
        return [*self.AtoB.parameters(), *self.BtoA.parameters()]

    def discriminator_parameters(self) -> list[nn.Parameter]:
        """Of both discriminators, D_A first, as the optimiser holds them."""
        return [*self.D_A.parameters(), *self.D_B.parameters()]


class Translations(NamedTuple):
    """G(a), F(b), F(a), G(b); without identity loss the last two are a and b themselves, their loss 0."""

    fake_b: Tensor
    fake_a: Tensor
    same_a: Tensor
    same_b: Tensor


VIEWS = 3
"""Images of a domain that its discriminator sees in an update, each augmented by itself: a new translation
when generators learn, then a real image and one from the pool."""
_OF_GENERATOR, _REAL, _POOL = range(VIEWS)


class Chances(NamedTuple):
    """Random numbers for what D_A and D_B see; None without augmentation."""

    a: Tensor | None
    b: Tensor | None

    def chunk(self, parts: int) -> list[Chances]:
        """As `Tensor.chunk`."""
        if self.a is None or self.b is None:
            return [self] * parts
        return [Chances(*pair) for pair in zip(self.a.chunk(parts), self.b.chunk(parts), strict=True)]


class Update:
    """Calling it performs one update and returns the losses as one tensor, without waiting for the device."""

    def __init__(
        self,
        networks: Networks,
        opt_G: torch.optim.Optimizer,
        opt_D: torch.optim.Optimizer,
        pool_a: ImagePool,
        pool_b: ImagePool,
        *,
        lambda_cycle: float = 10.0,
        lambda_identity: float = 0.0,
        objective: Objective = "least_squares",
        order: Order = "generators_first",
        discriminator_updates: DiscriminatorUpdates = "joint",
        accumulation_steps: int = 1,
        augmentations: Sequence[str] = (),
        precision: torch.dtype = torch.float32,
    ) -> None:
        """`opt_G` and `opt_D` optimise both generators and both discriminators; `augmentations` are names of
        `diffaugment.STEPS`.
        """
        self.networks = networks
        self.opt_G, self.opt_D = opt_G, opt_D
        self.pool_a, self.pool_b = pool_a, pool_b
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.objective: Objective = objective
        self.order, self.discriminator_updates = order, discriminator_updates
        self.accumulation_steps, self.precision = accumulation_steps, precision
        self.augmentations = tuple(augmentations)

    def __call__(
        self,
        a: Tensor,
        b: Tensor,
        slots_a: Tensor,
        slots_b: Tensor,
        chance_a: Tensor | None = None,
        chance_b: Tensor | None = None,
    ) -> Tensor:
        """Images a, b: B×3×H×W in [-1, 1]; slots: B×(slot, keep, show old) for the image pools.

        Chances: B×`VIEWS`×`diffaugment.NUMBERS` in [0, 1), for what D_A and D_B see; needed for augmentation.
        Returns the values of `TERMS` as they were when each loss was computed.
        """
        u = Chances(chance_a, chance_b)
        made = self.translate(a, b) if self.accumulation_steps == 1 else None
        if self.order == "generators_first":
            of_generators, fake_a, fake_b = self.update_generators(a, b, made, u)
            of_discriminators = self.update_discriminators(a, b, fake_a, fake_b, slots_a, slots_b, u)
        else:
            # The generators do not change in between, so the same translations serve both updates.
            fake_a, fake_b = (made.fake_a, made.fake_b) if made else self.fakes(a, b)
            of_discriminators = self.update_discriminators(a, b, fake_a, fake_b, slots_a, slots_b, u)
            of_generators, _, _ = self.update_generators(a, b, made, u)
        return torch.cat([of_generators, of_discriminators])

    def translate(self, a: Tensor, b: Tensor) -> Translations:
        """G(a), F(b) and, where the identity loss is used, G(b), F(a), from N×C×H×W in [-1, 1].

        Where it is not used, a and b themselves take the place of G(b) and F(a), so its terms are 0.
        """
        AtoB, BtoA = self.networks.AtoB, self.networks.BtoA
        with self.arithmetic(a):
            if not self.lambda_identity:
                return Translations(fake_b=AtoB(a), fake_a=BtoA(b), same_a=a, same_b=b)
            fake_b, same_b = AtoB(torch.cat([a, b])).chunk(2)
            fake_a, same_a = BtoA(torch.cat([b, a])).chunk(2)
        return Translations(fake_b, fake_a, same_a, same_b)

    @torch.no_grad()
    def fakes(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """F(b) and G(a) in parts, without what a backward pass would need."""
        with self.arithmetic(a):
            fake_a = torch.cat([self.networks.BtoA(part) for part in b.chunk(self.accumulation_steps)])
            fake_b = torch.cat([self.networks.AtoB(part) for part in a.chunk(self.accumulation_steps)])
        return fake_a, fake_b

    def update_generators(
        self, a: Tensor, b: Tensor, made: Translations | None, u: Chances
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Minimise L(G, F) of equation 3 over G and F; returns its terms and the detached F(b), G(a)."""
        terms, fakes_a, fakes_b = [], [], []
        with frozen(self.networks.D_A, self.networks.D_B):
            for part_a, part_b, chances in zip(
                a.chunk(self.accumulation_steps),
                b.chunk(self.accumulation_steps),
                u.chunk(self.accumulation_steps),
                strict=True,
            ):
                x = made or self.translate(part_a, part_b)
                part = self.generator_terms(part_a, part_b, x, chances)
                backward(self.generator_loss(part) / self.accumulation_steps)
                terms.append(part.detach())
                fakes_a.append(x.fake_a.detach())
                fakes_b.append(x.fake_b.detach())
        self._step(self.opt_G)
        return torch.stack(terms).mean(0), torch.cat(fakes_a), torch.cat(fakes_b)

    def generator_terms(self, a: Tensor, b: Tensor, x: Translations, u: Chances) -> Tensor:
        """The six terms of the generators' objective, unweighted: adversarial, cycle, identity, two each."""
        n = self.networks
        seen_b, seen_a = self.seen(x.fake_b, u.b, _OF_GENERATOR), self.seen(x.fake_a, u.a, _OF_GENERATOR)
        with self.arithmetic(a):
            score_b, score_a = n.D_B(seen_b), n.D_A(seen_a)
            cycled_a, cycled_b = n.BtoA(x.fake_b), n.AtoB(x.fake_a)
        return torch.stack(
            [
                adversarial(score_b, real=True, objective=self.objective),  # L_GAN(G, D_B), equation 1
                adversarial(score_a, real=True, objective=self.objective),  # L_GAN(F, D_A)
                l1(cycled_a, a),  # ‖F(G(a)) − a‖₁, equation 2
                l1(cycled_b, b),  # ‖G(F(b)) − b‖₁
                l1(x.same_a, a),  # ‖F(a) − a‖₁, section 5.2
                l1(x.same_b, b),  # ‖G(b) − b‖₁
            ]
        )

    def generator_loss(self, terms: Tensor) -> Tensor:
        """Equation 3 with the identity loss: L_GAN + λ_cycle·L_cyc + λ_identity·L_identity."""
        gan, cycle, identity = terms.view(3, 2).sum(1)
        loss: Tensor = gan + self.lambda_cycle * cycle + self.lambda_identity * identity
        return loss

    def update_discriminators(
        self,
        a: Tensor,
        b: Tensor,
        fake_a: Tensor,
        fake_b: Tensor,
        slots_a: Tensor,
        slots_b: Tensor,
        u: Chances,
    ) -> Tensor:
        """Minimise equation 1 over D_A and D_B, on real images and on translations from the image pools."""
        shown_a = self.pool_a.exchange(fake_a.detach(), slots_a)
        shown_b = self.pool_b.exchange(fake_b.detach(), slots_b)
        a, b = self.seen(a, u.a, _REAL), self.seen(b, u.b, _REAL)
        shown_a, shown_b = self.seen(shown_a, u.a, _POOL), self.seen(shown_b, u.b, _POOL)
        if self.discriminator_updates == "joint":
            terms = self._discriminate([a, shown_a], [b, shown_b], [True, False], weight=0.5)
        else:
            real = self._discriminate([a], [b], [True], weight=1.0)
            fake = self._discriminate([shown_a], [shown_b], [False], weight=1.0)
            terms = torch.cat([real, fake], dim=1)
        losses, scores = terms  # each (real A, real B, fake A, fake B)
        halves = losses.view(2, 2).mean(0)
        return torch.cat([halves, scores.view(2, 2).T.flatten()])

    def seen(self, images: Tensor, chance: Tensor | None, view: int) -> Tensor:
        """What a discriminator sees of images: they themselves, or augmented by their own random numbers."""
        if not self.augmentations:
            return images
        assert chance is not None, "augmentation needs random numbers"
        return augment(images, chance[:, view], self.augmentations)

    def _discriminate(
        self, images_a: list[Tensor], images_b: list[Tensor], real: list[bool], *, weight: float
    ) -> Tensor:
        """One step of both discriminators; returns 2 × (kind, domain): losses and mean scores."""
        terms = []
        chunked_a = [images.chunk(self.accumulation_steps) for images in images_a]
        chunked_b = [images.chunk(self.accumulation_steps) for images in images_b]
        for part_a, part_b in zip(zip(*chunked_a, strict=True), zip(*chunked_b, strict=True), strict=True):
            with self.arithmetic(part_a[0]):
                scores_a = self.networks.D_A(torch.cat(part_a)).chunk(len(real))
                scores_b = self.networks.D_B(torch.cat(part_b)).chunk(len(real))
            scores = [score for pair in zip(scores_a, scores_b, strict=True) for score in pair]
            kinds = [kind for kind in real for _ in range(2)]
            losses = torch.stack(
                [
                    adversarial(score, real=kind, objective=self.objective)
                    for score, kind in zip(scores, kinds, strict=True)
                ]
            )
            backward(losses.sum() * weight / self.accumulation_steps)
            means = torch.stack([score.detach().to(losses.dtype).mean() for score in scores])
            terms.append(torch.stack([losses.detach(), means]))
        self._step(self.opt_D)
        return torch.stack(terms).mean(0)

    def _step(self, optimiser: torch.optim.Optimizer) -> None:
        average_gradients([p for group in optimiser.param_groups for p in group["params"]])
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def arithmetic(self, like: Tensor) -> AbstractContextManager[object]:
        """Autocast to the chosen precision on the device of `like`."""
        if self.precision is torch.float32:
            return nullcontext()
        return torch.autocast(like.device.type, dtype=self.precision)


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Within the block no gradients are computed for the networks' own weights."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)
