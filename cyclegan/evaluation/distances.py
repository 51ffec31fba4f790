"""Distances between two sets of feature vectors: Fréchet (FID), kernel (KID), precision and recall.

Every function takes float tensors N×D on any device, works in float64 and returns plain floats or tensors.
What the features are is not known here: only Inception's 2048 make a Fréchet distance an FID.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians fitted to x (N×D) and y (M×D), N, M ≥ 2.

    ‖μx − μy‖² + tr Sx + tr Sy − 2 tr (Sx Sy)^½, with unbiased covariances (Heusel et al. 2017, eq. 6). With
    A, B the centred features over √(n−1), so that S = AᵀA, the last trace is the nuclear norm ‖ABᵀ‖_*: no
    D×D matrix where N < D, no complex square root, nothing to stabilise.
    """
    x, y = x.double(), y.double()
    a, b = _centred_factor(x), _centred_factor(y)
    mean_term = (x.mean(0) - y.mean(0)).square().sum()
    return float(mean_term + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum())


def _centred_factor(x: Tensor) -> Tensor:
    """A with AᵀA = cov(x) and min(N, D) rows."""
    a = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    factor: Tensor = torch.linalg.qr(a, mode="r").R if a.shape[0] > a.shape[1] else a
    return factor


def resample_counts(n: int, resamples: int, generator: torch.Generator) -> Tensor:
    """How often each of `n` items is drawn in each bootstrap resample: int64, resamples×n."""
    draws = torch.randint(n, (resamples, n), generator=generator)
    return torch.zeros(resamples, n, dtype=torch.int64).scatter_add_(1, draws, torch.ones_like(draws))


def frechet_replicates(x: Tensor, y: Tensor, counts_x: Tensor, counts_y: Tensor) -> Tensor:
    """The Fréchet distance of each bootstrap resample (`resample_counts`); float64 of length R, on the CPU.

    All of them need only the Gram matrix XYᵀ and an SVD of the rows drawn, not the features again.
    """
    x, y = x.double().cpu(), y.double().cpu()
    if x.shape[1] < min(len(x), len(y)):  # then the D×D route of frechet_distance is the cheaper one
        rows = [
            (x.repeat_interleave(c, 0), y.repeat_interleave(d, 0))
            for c, d in zip(counts_x, counts_y, strict=True)
        ]
        return torch.tensor([frechet_distance(a, b) for a, b in rows], dtype=torch.float64)
    origin = torch.cat([x, y]).mean(0)  # distances do not depend on it; the sums below lose fewer digits
    x, y = x - origin, y - origin
    xx, xy, yy = x @ x.T, x @ y.T, y @ y.T
    values = [_weighted_frechet(xx, xy, yy, c, d) for c, d in zip(counts_x, counts_y, strict=True)]
    return torch.stack(values) if values else torch.empty(0, dtype=torch.float64)


def _weighted_frechet(xx: Tensor, xy: Tensor, yy: Tensor, counts_x: Tensor, counts_y: Tensor) -> Tensor:
    i, j = counts_x.nonzero()[:, 0], counts_y.nonzero()[:, 0]
    v, w = counts_x[i].double(), counts_y[j].double()
    n, m = v.sum(), w.sum()
    p, q = v / n, w / m
    gram = xy[i][:, j]
    row, column = gram @ q, p @ gram
    cross = p @ gram @ q
    norm_x, norm_y = p @ xx[i][:, i] @ p, q @ yy[j][:, j] @ q  # ‖μx‖², ‖μy‖²
    trace_x = (v @ xx.diagonal()[i] - n * norm_x) / (n - 1)
    trace_y = (w @ yy.diagonal()[j] - m * norm_y) / (m - 1)
    centred = (gram - row[:, None] - column + cross) * v.sqrt()[:, None] * w.sqrt()
    nuclear = torch.linalg.svdvals(centred).sum() / ((n - 1) * (m - 1)).sqrt()
    distance: Tensor = norm_x - 2 * cross + norm_y + trace_x + trace_y - 2 * nuclear
    return distance


def frechet_influence(x: Tensor, y: Tensor) -> Tensor:
    """How much each row of x carries of the Fréchet distance to y: the distance less that without the row.

    float64 of length N on the CPU; N ≥ 3. Positive: without this image the distance would be smaller.

    Without row i the scatter of x loses c·dᵢdᵢᵀ, where dᵢ = xᵢ − μx and c = n/(n−1). Let B be the factor of
    cov(y); then M = B·scatter·Bᵀ with eigenvalues λ loses the rank-one c·vvᵀ, v = B·dᵢ, and since
    √λ = (1/π)∫ log(1 + λ/s²) ds over s > 0, the trace of its root changes by
    (1/π)∫ log(1 − c·Σ zₖ²/(λₖ + s²)) ds, z being v in the eigenvectors' basis. With s = eᵘ the trapezoid rule
    converges geometrically, so all N distances cost one eigenvalue problem and one matrix product.
    """
    x, y = x.double().cpu(), y.double().cpu()
    n = len(x)
    d, b = x - x.mean(0), _centred_factor(y)
    projected = d @ b.T  # n × rows of b
    values, vectors = torch.linalg.eigh(projected.T @ projected)
    keep = values > 1e-12 * values.max().clamp_min(1e-300)
    values, z = values[keep], (projected @ vectors[:, keep]).square()
    change = torch.zeros(n, dtype=torch.float64)
    if len(values):
        ends = torch.log(values[[0, -1]].sqrt())
        step = 0.35
        u = torch.arange(float(ends[0]) - 24, float(ends[1]) + 28, step, dtype=torch.float64)
        s = u.exp()
        left = 1 - n / (n - 1) * (z @ (1 / (values[:, None] + s.square())))
        change = (left.clamp_min(1e-16).log() * s).sum(1) * step / torch.pi
    root = values.sqrt().sum()
    squares = d.square().sum(1)
    trace = squares.sum()
    gap = x.mean(0) - y.mean(0)
    whole = gap.square().sum() + trace / (n - 1) - 2 * root / (n - 1) ** 0.5
    gap_without = gap - d / (n - 1)
    trace_without = (trace - n / (n - 1) * squares) / (n - 2)
    without = gap_without.square().sum(1) + trace_without - 2 * (root + change) / (n - 2) ** 0.5
    influence: Tensor = whole - without
    return influence


def jackknife_error(influences: list[Tensor]) -> float:
    """The standard error of a statistic from what each item of its independent samples adds to it.

    One tensor a sample, of its length (`frechet_influence`, `kernel_influence`). Where two samples belong
    together row by row, the pairs are the items: one tensor, what both of each pair add.
    """
    return math.sqrt(sum((len(one) - 1) * float(one.var(correction=0)) for one in influences))


def gain_error(
    distance: float, of_distance: list[Tensor], baseline: float, of_baseline: list[Tensor]
) -> float:
    """The standard error of 1 − distance / baseline from the influences on both, to first order.

    Both lists are of the same items in the same order. Much of what an item adds to one it adds to the other,
    so the error is smaller than those of the two distances suggest.
    """
    pairs = zip(of_distance, of_baseline, strict=True)
    return jackknife_error([(distance / baseline * b - d) / baseline for d, b in pairs])


def nearest_distance(x: Tensor, y: Tensor, *, itself: bool = False) -> Tensor:
    """Euclidean distance of each row of x to the nearest row of y; float64 of length N on the CPU.

    With `itself` x and y are the same rows, and a row is not its own neighbour.
    """
    distances = torch.cdist(x.double(), y.double())
    if itself:
        distances.fill_diagonal_(torch.inf)
    return distances.min(1).values.cpu()


def interval(estimate: float, replicates: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap interval about `estimate`: the replicates' spread around their own mean.

    Resamples repeat items and so have fewer distinct ones; the Fréchet distance grows as the sample shrinks,
    hence percentiles of the replicates themselves would lie above the estimate.
    """
    tail = (1 - level) / 2
    quantiles = torch.tensor([tail, 1 - tail], dtype=replicates.dtype)
    low, high = torch.quantile(replicates - replicates.mean(), quantiles).tolist()
    return estimate + low, estimate + high


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x·y / D + 1)³ for all pairs: N×M (Bińkowski et al. 2018)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def kernel_distance(x: Tensor, y: Tensor, *, paired: bool = False) -> tuple[float, float]:
    """Squared maximum mean discrepancy under the polynomial kernel (KID), and its standard error.

    The unbiased estimator over all pairs, N, M ≥ 3: what the mean over random subsets converges to. It can be
    slightly negative when the sets are alike. The standard error is the jackknife's: x and y are independent
    samples, or belong together row by row where they are `paired` (then N = M).
    """
    distance, influences = kernel_influence(x, y, paired=paired)
    return distance, jackknife_error(influences)


def kernel_influence(x: Tensor, y: Tensor, *, paired: bool = False) -> tuple[float, list[Tensor]]:
    """The kernel distance, and how much of it each item carries: the distance less that without the item.

    The items are the rows of x and those of y, or rows of both that belong together where they are `paired`.
    """
    x, y = x.double(), y.double()
    n, m = len(x), len(y)
    kxx, kyy, kxy = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
    rows_x, rows_y = kxx.sum(1) - kxx.diagonal(), kyy.sum(1) - kyy.diagonal()
    rows_xy, columns_xy = kxy.sum(1), kxy.sum(0)
    sum_x, sum_y, sum_xy = rows_x.sum(), rows_y.sum(), rows_xy.sum()

    def mmd(sx: Tensor, sy: Tensor, sxy: Tensor, n: int, m: int) -> Tensor:
        return sx / (n * (n - 1)) + sy / (m * (m - 1)) - 2 * sxy / (n * m)

    whole = mmd(sum_x, sum_y, sum_xy, n, m)
    less_x, less_y = sum_x - 2 * rows_x, sum_y - 2 * rows_y  # the sums without each one
    if paired:
        less_xy = sum_xy - rows_xy - columns_xy + kxy.diagonal()
        left_out = [mmd(less_x, less_y, less_xy, n - 1, m - 1)]
    else:
        left_out = [
            mmd(less_x, sum_y, sum_xy - rows_xy, n - 1, m),
            mmd(sum_x, less_y, sum_xy - columns_xy, n, m - 1),
        ]
    return float(whole), [whole - without for without in left_out]


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019): 0 to 1, higher is better.

    Precision is the share of `fake` inside the manifold of `real`, the union of balls about each real vector
    that reach its k-th neighbour; recall the same with the roles exchanged. Both sets need more than k items.
    """
    real, fake = real.double(), fake.double()
    across = torch.cdist(real, fake)
    radius_real = torch.cdist(real, real).kthvalue(k + 1, dim=1).values  # the nearest is the item itself
    radius_fake = torch.cdist(fake, fake).kthvalue(k + 1, dim=1).values
    precision = (across <= radius_real[:, None]).any(0).double().mean()
    recall = (across <= radius_fake).any(1).double().mean()
    return float(precision), float(recall)
