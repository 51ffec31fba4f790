"""Distances of translations to their true counterparts, where the test sets are pairs.

Each function takes uint8 images N×H×W×3 and gives one value an image: float64 of length N.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from cyclegan.evaluation.images import Images

Values = NDArray[np.float64]
PSNR_MOST = 100.0
"""PSNR of identical images, in dB, where the formula gives infinity."""


def _difference(x: Images, y: Images) -> NDArray[np.int16]:
    return x.astype(np.int16) - y.astype(np.int16)


def l1(x: Images, y: Images) -> Values:
    """Mean absolute difference, as a share of the full range: 0 to 1."""
    return np.abs(_difference(x, y)).mean(axis=(1, 2, 3), dtype=np.float64) / 255


def psnr(x: Images, y: Images) -> Values:
    """Peak signal-to-noise ratio in dB for a peak of 255, at most `PSNR_MOST`."""
    squares = np.square(_difference(x, y).astype(np.int32)).mean(axis=(1, 2, 3), dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(255**2 / squares), PSNR_MOST)


def map_accuracy(x: Images, y: Images, threshold: int) -> Values:
    """Share of pixels whose three channels all differ by less than `threshold`: 0 to 1.

    The accuracy used for aerial photo → map, where the true picture has few colours; Fu et al. 2019 (GcGAN,
    section 4.2) report it at thresholds of 5 and 10.
    """
    return (np.abs(_difference(x, y)).max(axis=3) < threshold).mean(axis=(1, 2), dtype=np.float64)


def ssim(x: Images, y: Images) -> Values:
    """Structural similarity, mean over channels and windows; H, W ≥ 11 (smaller images raise ValueError).

    Wang et al. 2004: Gaussian window of σ = 1.5 cut to 11×11, population covariance, K = (0.01, 0.03); the
    border of 5 pixels, where the window leaves the image, does not count.
    """
    if min(x.shape[1:3]) < 11:
        raise ValueError(f"SSIM needs images of at least 11×11 pixels, not {x.shape[1]}×{x.shape[2]}.")
    grid = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-grid.square() / (2 * 1.5**2))
    window = window / window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = [_ssim_one(p, q, window, c1, c2) for p, q in zip(x, y, strict=True)]
    return np.array(values, dtype=np.float64)


def _ssim_one(
    x: NDArray[np.uint8], y: NDArray[np.uint8], window: torch.Tensor, c1: float, c2: float
) -> float:
    a, b = (torch.tensor(image).permute(2, 0, 1).double() for image in (x, y))
    planes = torch.cat([a, b, a * a, b * b, a * b])[:, None]
    planes = F.conv2d(F.conv2d(planes, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))[:, 0]
    mean_a, mean_b, aa, bb, ab = planes.chunk(5)
    covariance, variances = ab - mean_a * mean_b, aa - mean_a**2 + bb - mean_b**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean())
