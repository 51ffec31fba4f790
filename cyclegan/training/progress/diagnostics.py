"""Signs that training fails: values that are not finite, a collapse, inverted colours."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def first_non_finite(losses: Tensor) -> int | None:
    """The first row of a steps × terms table with nan or infinity in it."""
    bad = ~losses.isfinite().all(dim=1)
    return int(bad.float().argmax()) if bad.any() else None


def correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's correlation of the brightness of two sets of images, N×3×H×W, within each pair of images."""
    x, y = (images.float().mean(dim=1).flatten(1) for images in (x, y))
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    norms = (x.square().sum(1) * y.square().sum(1)).sqrt()
    return float(((x * y).sum(1) / norms.clamp_min(1e-12)).mean())


def diversity(translated: Tensor, inputs: Tensor) -> float:
    """How much translations differ from each other, relative to how much their inputs do; 1 is as much.

    Both are N×C×H×W of any range; a value near 0 is a collapsed generator.
    """

    def spread(images: Tensor) -> Tensor:
        return images.float().std(dim=0).mean() if len(images) > 1 else torch.ones(())

    return float(spread(translated) / spread(inputs).clamp_min(1e-6))


def complaints(losses: Mapping[str, float]) -> list[str]:
    """Warnings that the means of an epoch's losses (names of `step.TERMS`) call for."""
    found = []
    for domain, direction in (("A", "BtoA"), ("B", "AtoB")):
        if losses[f"D_{domain}"] < 0.01:
            found.append(
                f"D_{domain} separates real from translated images almost perfectly "
                f"(loss {losses[f'D_{domain}']:.4f}), so {direction} gets almost no gradient: "
                "a lower learning rate or a larger image pool may help."
            )
        if abs(losses[f"real_{domain}"] - losses[f"fake_{domain}"]) < 0.01:
            found.append(
                f"D_{domain} gives real and translated images the same score "
                f"({losses[f'real_{domain}']:.2f}): it has collapsed or cannot see a difference."
            )
    return found


def inversions(direction: str, correlation: float, diversity: float) -> list[str]:
    """Warnings that the sample translations of a direction call for."""
    found = []
    if correlation < -0.3:
        found.append(
            f"{direction} inverts brightness (correlation with its input {correlation:.2f}): if that is "
            "wrong for these domains, start again with another seed or a larger lambda_identity."
        )
    if diversity < 0.05:
        found.append(f"{direction} gives nearly the same picture for every input: it has collapsed.")
    return found
