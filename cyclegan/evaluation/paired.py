"""Distances of translations to their true counterparts, where the test sets are pairs.

Each function takes images N×H×W×C, all uint8 or all uint16, and returns one value per image: float64 of
length N.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan.evaluation.images import Images, largest

Values = NDArray[np.float64]
PSNR_MOST = 100.0
"""PSNR of identical images, in dB, where the formula is infinite."""


def _difference(x: Images, y: Images) -> NDArray[Any]:
    wide = np.int16 if x.itemsize == 1 else np.int32
    difference: NDArray[Any] = x.astype(wide) - y.astype(wide)
    return difference


def l1(x: Images, y: Images) -> Values:
    """Mean absolute difference, as a share of the full range: 0 to 1."""
    values: Values = np.abs(_difference(x, y)).mean(axis=(1, 2, 3), dtype=np.float64) / largest(x)
    return values


def psnr(x: Images, y: Images) -> Values:
    """Peak signal-to-noise ratio in dB for the largest value as peak, at most `PSNR_MOST`."""
    wide = np.int32 if x.itemsize == 1 else np.int64
    squares = np.square(_difference(x, y).astype(wide)).mean(axis=(1, 2, 3), dtype=np.float64)
    with np.errstate(divide="ignore"):
        values: Values = np.minimum(10 * np.log10(largest(x) ** 2 / squares), PSNR_MOST)
    return values


def map_accuracy(x: Images, y: Images, threshold: int) -> Values:
    """Share of pixels whose channels all differ by less than `threshold` of 255: 0 to 1.

    The accuracy used for aerial photo → map, where the true picture has few colours; Fu et al. 2019 (GcGAN)
    report it at thresholds of 5 and 10.
    """
    least = threshold * (largest(x) // 255)
    shares: Values = (np.abs(_difference(x, y)).max(axis=3) < least).mean(axis=(1, 2), dtype=np.float64)
    return shares


def ssim(x: Images, y: Images) -> Values:
    """Structural similarity as in Wang et al. 2004, mean over channels; H, W ≥ 11 (smaller: ValueError).

    Gaussian window of σ = 1.5 cut to 11×11 and population covariance, by scikit-image.
    """
    from skimage.metrics import structural_similarity

    similarity: Callable[..., float] = structural_similarity
    values = [
        similarity(
            p,
            q,
            channel_axis=2,
            data_range=largest(x),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for p, q in zip(x, y, strict=True)
    ]
    return np.array(values, dtype=np.float64)
