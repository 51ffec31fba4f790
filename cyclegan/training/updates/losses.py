"""The losses of CycleGAN, on tensors; equation numbers are those of arXiv 1703.10593.

G: A→B is `AtoB`, F: B→A is `BtoA`. Images are N×3×H×W in [-1, 1], scores N×1×h×w. All losses are means in
float32 regardless of the networks' precision.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

Objective = Literal["least_squares", "vanilla"]


def adversarial(scores: Tensor, *, real: bool, objective: Objective = "least_squares") -> Tensor:
    """How far a discriminator's scores, of any shape, are from calling their images real, or not real.

    Least squares (section 4): E[(D(x) − 1)²] or E[D(x)²]. Vanilla, equation 1 with the generator's loss of
    Goodfellow et al. that does not saturate: −E[log σ(D(x))] or −E[log(1 − σ(D(x)))].
    """
    scores = _exact(scores)
    if objective == "least_squares":
        return ((scores - 1) if real else scores).square().mean()
    return softplus(-scores if real else scores).mean()


def l1(x: Tensor, y: Tensor) -> Tensor:
    """E[|x − y|] over all of N×C×H×W, as float32: cycle loss (equation 2), identity loss (section 5.2)."""
    return (_exact(x) - _exact(y)).abs().mean()


def _exact(x: Tensor) -> Tensor:
    """bfloat16 to float32; float32 and float64 as they are."""
    return x.float() if x.dtype.itemsize < 4 else x
