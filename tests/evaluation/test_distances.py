from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclegan.evaluation.distances import (
    frechet_distance,
    frechet_influence,
    frechet_replicates,
    gain_error,
    interval,
    jackknife_error,
    kernel_distance,
    kernel_influence,
    nearest_distance,
    precision_recall,
    resample_counts,
)


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(n: int, mean: torch.Tensor, covariance: torch.Tensor, seed: int) -> torch.Tensor:
    """A sample whose mean and unbiased covariance are exactly these."""
    x = normal(n, len(mean), seed)
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1))).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def by_sqrtm(x: torch.Tensor, y: torch.Tensor) -> float:
    from scipy.linalg import sqrtm

    a, b = x.numpy(), y.numpy()
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = sqrtm(s @ t)
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s) + np.trace(t) - 2 * np.trace(root).real)


@pytest.mark.parametrize("n", [40, 500])
def test_gaussians_with_known_distance(n: int) -> None:
    d = 16
    a, b = torch.linspace(1, 3, d, dtype=torch.float64), torch.linspace(2, 5, d, dtype=torch.float64)
    mean = torch.full((d,), 0.5, dtype=torch.float64)
    rotation = torch.linalg.qr(normal(d, d, 9)).Q  # commuting covariances that are not diagonal
    x = with_moments(n, mean, rotation @ a.square().diag() @ rotation.T, 1)
    y = with_moments(n + 7, -mean, rotation @ b.square().diag() @ rotation.T, 2)
    expected = 0.5**2 * 4 * d + float((a - b).square().sum())
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(150, 180, 20), (20, 30, 48), (20, 80, 48)])
def test_frechet_distance_agrees_with_the_matrix_square_root(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 3), 1.3 * normal(m, d, 4) + 0.2
    assert frechet_distance(x, y) == pytest.approx(by_sqrtm(x, y), rel=1e-4)


def test_distances_agree_with_torch_fidelity_and_pytorch_fid() -> None:
    pytest.importorskip("torch_fidelity")
    pytorch_fid = pytest.importorskip("pytorch_fid.fid_score")
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    x, y = normal(90, 32, 5).float(), (1.2 * normal(90, 32, 6) + 0.3).float()
    ours = frechet_distance(x, y)
    stats = [fid_features_to_statistics(t.double()) for t in (x, y)]
    theirs = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-6)
    moments = [stats[0]["mu"], stats[0]["sigma"], stats[1]["mu"], stats[1]["sigma"]]
    assert ours == pytest.approx(pytorch_fid.calculate_frechet_distance(*moments), rel=1e-6)

    kid = kid_features_to_metric(x.double(), y.double(), kid_subsets=1, kid_subset_size=90, verbose=False)
    assert kernel_distance(x, y)[0] == pytest.approx(kid["kernel_inception_distance_mean"], rel=1e-9)

    prc = prc_features_to_metric(y, x, verbose=False)  # theirs takes the generated features first
    assert precision_recall(x, y) == pytest.approx((prc["precision"], prc["recall"]), abs=1e-6)


def test_kernel_distance_is_the_mean_over_torch_fidelitys_subsets() -> None:
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = normal(120, 16, 7), normal(150, 16, 8) + 0.25
    value, error = kernel_distance(x, y)
    many = kid_features_to_metric(x, y, kid_subsets=400, kid_subset_size=60, verbose=False)
    assert abs(value - many["kernel_inception_distance_mean"]) < error


def test_standard_error_is_the_spread_over_fresh_samples() -> None:
    draws = [kernel_distance(normal(60, 8, 2 * i), normal(80, 8, 2 * i + 1) + 0.5) for i in range(120)]
    values, errors = np.array(draws).T
    assert np.median(errors) == pytest.approx(values.std(ddof=1), rel=0.25)


def leave_one_out_error(x: np.ndarray, y: np.ndarray, *, paired: bool) -> float:
    """The jackknife's standard error of KID, every estimate computed from the vectors again."""

    def kid(x: np.ndarray, y: np.ndarray) -> float:
        def kernel(a: np.ndarray, b: np.ndarray) -> float:
            return float((np.dot(a, b) / len(a) + 1) ** 3)

        within_x = [kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
        within_y = [kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
        across = [kernel(a, b) for a in x for b in y]
        return float(np.mean(within_x) + np.mean(within_y) - 2 * np.mean(across))

    def without(rows: np.ndarray, i: int) -> np.ndarray:
        return np.delete(rows, i, axis=0)

    if paired:
        left_out = [[kid(without(x, i), without(y, i)) for i in range(len(x))]]
    else:
        left_out = [
            [kid(without(x, i), y) for i in range(len(x))],
            [kid(x, without(y, i)) for i in range(len(y))],
        ]
    variance = 0.0
    for estimates in map(np.array, left_out):
        n = len(estimates)
        variance += (n - 1) / n * np.square(estimates - estimates.mean()).sum()
    return float(np.sqrt(variance))


@pytest.mark.parametrize(
    ("n", "m", "d", "paired"), [(9, 12, 5, False), (11, 8, 3, False), (9, 9, 5, True), (4, 4, 3, True)]
)
def test_standard_error_is_the_jackknifes_to_the_last_digits(n: int, m: int, d: int, paired: bool) -> None:
    x, y = normal(n, d, n), normal(m, d, m + 1) + 0.4
    expected = leave_one_out_error(x.numpy(), y.numpy(), paired=paired)
    assert kernel_distance(x, y, paired=paired)[1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_intervals_of_pairs_hold_the_true_distance_as_often_as_they_say(alike: float) -> None:
    """95 % of them, however alike the two of a pair are; as independent samples they would nearly always."""
    values, errors = [], []
    for seed in range(300):
        y = normal(60, 12, 2 * seed)
        x = alike * y + (1 - alike**2) ** 0.5 * normal(60, 12, 2 * seed + 1) + 0.2
        value, error = kernel_distance(x, y, paired=True)
        values.append(value)
        errors.append(error)
    truth = np.mean(values)  # unbiased
    assert 0.91 < np.mean(np.abs(np.array(values) - truth) < 1.96 * np.array(errors)) < 0.975
    if alike:
        assert kernel_distance(x, y)[1] > 1.5 * error


@pytest.mark.parametrize("d", [6, 70])
def test_replicates_are_the_distances_of_the_resampled_sets(d: int) -> None:
    x, y = normal(25, d, 10), normal(30, d, 11) + 0.5
    generator = torch.Generator().manual_seed(0)
    cx, cy = resample_counts(25, 4, generator), resample_counts(30, 4, generator)
    assert cx.sum(1).tolist() == [25] * 4
    direct = [
        frechet_distance(x.repeat_interleave(c, 0), y.repeat_interleave(e, 0))
        for c, e in zip(cx, cy, strict=True)
    ]
    assert frechet_replicates(x, y, cx, cy).tolist() == pytest.approx(direct, rel=1e-8)


@pytest.mark.parametrize("d", [8, 96])
def test_interval_is_as_wide_as_the_spread_over_fresh_samples(d: int) -> None:
    n = 60
    fresh = [frechet_distance(normal(n, d, 2 * i), 1.2 * normal(n, d, 2 * i + 1) + 0.3) for i in range(80)]
    x, y = normal(n, d, 1000), 1.2 * normal(n, d, 1001) + 0.3
    generator = torch.Generator().manual_seed(0)
    replicates = frechet_replicates(
        x, y, resample_counts(n, 200, generator), resample_counts(n, 200, generator)
    )
    low, high = interval(frechet_distance(x, y), replicates)
    assert low < frechet_distance(x, y) < high
    assert 0.6 < (high - low) / (2 * 1.96 * np.std(fresh)) < 1.7


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 30), st.integers(4, 30), st.integers(1, 40), st.integers(0, 10**6))
def test_distances_are_symmetric_and_blind_to_order_and_origin(n: int, m: int, d: int, seed: int) -> None:
    x, y = normal(n, d, seed), normal(m, d, seed + 1) * 2
    value = frechet_distance(x, y)
    assert value > -1e-9
    assert frechet_distance(y, x) == pytest.approx(value, rel=1e-7, abs=1e-7)
    assert frechet_distance(x.flip(0) + 3, y + 3) == pytest.approx(value, rel=1e-7, abs=1e-7)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert kernel_distance(y, x)[0] == pytest.approx(kernel_distance(x, y)[0], rel=1e-7, abs=1e-9)


def test_precision_and_recall_tell_quality_from_variety() -> None:
    real = normal(200, 2, 12)
    few_modes = real[real[:, 0] > 0.5] + 0.01
    precision, recall = precision_recall(real, few_modes)
    assert precision > 0.9
    assert recall < 0.6
    assert precision_recall(real, real + 100) == (0.0, 0.0)


@pytest.mark.parametrize(("n", "m", "width"), [(12, 9, 40), (9, 14, 40), (40, 50, 6), (5, 30, 64)])
def test_influence_is_the_distance_less_that_without_each_image(n: int, m: int, width: int) -> None:
    generator = torch.Generator().manual_seed(n)
    scales = torch.linspace(3, 0.1, width)
    x = torch.randn(n, width, generator=generator) * scales + 2
    y = torch.randn(m, width, generator=generator) * scales
    x[3] += 4  # an outlier carries the most
    whole = frechet_distance(x, y)
    brute = [whole - frechet_distance(torch.cat([x[:i], x[i + 1 :]]), y) for i in range(n)]
    found = frechet_influence(x, y)
    assert found.tolist() == pytest.approx(brute, abs=1e-5 * whole)
    assert int(found.argmax()) == 3


def test_influence_of_images_that_are_all_alike_is_nothing() -> None:
    x = torch.ones(6, 4)
    assert frechet_influence(x, torch.randn(8, 4)).tolist() == pytest.approx([0.0] * 6, abs=1e-9)


def test_nearest_distance_leaves_the_image_itself_out() -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    assert nearest_distance(points, points).tolist() == [0, 0, 0]
    assert nearest_distance(points, points, itself=True).tolist() == pytest.approx([5, 1, 1])


@pytest.mark.parametrize("paired", [False, True])
def test_the_jackknife_finds_the_spread_over_fresh_samples(paired: bool) -> None:
    def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(300, 6, generator=generator, dtype=torch.float64)
        fresh = torch.rand(300, 6, generator=generator, dtype=torch.float64)
        return x, (0.7 * x + 0.3 * fresh if paired else fresh) * 1.5 + 1

    spread = torch.tensor([frechet_distance(*draw(seed)) for seed in range(200)]).std()
    errors = []
    for x, y in map(draw, range(1000, 1010)):
        of_x, of_y = frechet_influence(x, y), frechet_influence(y, x)
        errors.append(jackknife_error([of_x + of_y] if paired else [of_x, of_y]))
    assert sum(errors) / len(errors) == pytest.approx(float(spread), rel=0.15)


def test_the_jackknifes_error_by_its_formula() -> None:
    """(n − 1)/n · Σ (θᵢ − θ̄)² of each sample."""
    x, y = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([2.0, 2.0, 2.0, 6.0])
    assert jackknife_error([x, y]) == pytest.approx((3 * 1.25 + 3 * 3.0) ** 0.5)
    assert jackknife_error([x + y]) == pytest.approx((3 * 7.25) ** 0.5)


@pytest.mark.parametrize("paired", [False, True])
def test_the_error_of_a_gain_is_the_spread_over_fresh_samples(paired: bool) -> None:
    """Of x moved towards y: what a sample of y adds to both distances cancels."""

    def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        y = normal(60, 8, 2 * seed)
        x = (0.5 * y + 0.9 * normal(60, 8, 2 * seed + 1) if paired else normal(60, 8, 2 * seed + 1)) + 1
        return x, x - 0.2, y

    gains, errors, apart = [], [], []
    for seed in range(150):
        x, moved, y = draw(seed)
        baseline, of_baseline = kernel_influence(x, y, paired=paired)
        distance, of_distance = kernel_influence(moved, y, paired=paired)
        gains.append(1 - distance / baseline)
        errors.append(gain_error(distance, of_distance, baseline, of_baseline))
        relative = jackknife_error(of_distance) / distance, jackknife_error(of_baseline) / baseline
        apart.append(distance / baseline * math.hypot(*relative))
    assert np.median(errors) == pytest.approx(np.std(gains, ddof=1), rel=0.25)
    assert np.median(errors) < 0.7 * np.median(apart)
