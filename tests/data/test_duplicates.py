"""Pictures that are there twice: few or many, in seconds and little memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cyclegan.data import duplicates
from cyclegan.data.duplicates import find_pairs


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth and distinct thumbnails, uint8 N×16×16×3."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def noisy(thumbnails: np.ndarray, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-3, 4, thumbnails.shape)
    return (thumbnails.astype(int) + noise).clip(0, 255).astype(np.uint8)


def digests(count: int, prefix: str = "") -> list[bytes]:
    return [f"{prefix}{i}".encode() for i in range(count)]


def brute_force(first: np.ndarray, second: np.ndarray) -> set[tuple[int, int]]:
    """All similar pairs by the definition in the module's docstring."""
    found = set()
    for i, a in enumerate(first.reshape(len(first), -1).astype(float)):
        for j, b in enumerate(second.reshape(len(second), -1).astype(float)):
            difference = np.abs(a - b - (a - b).mean()).mean()
            if np.corrcoef(a, b)[0, 1] > duplicates.CORRELATION and difference < duplicates.DIFFERENCE:
                found.add((i, j))
    return found


@pytest.mark.parametrize("block", [7, 1024])
def test_nothing_is_missed(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", block)
    first = pictures(60)
    second = np.concatenate([noisy(first[::3]), pictures(20, seed=9)])
    pairs = find_pairs(first, digests(60, "a"), second, digests(40, "b"))
    assert (
        {(p.first, p.second) for p in pairs} == brute_force(first, second) == {(3 * i, i) for i in range(20)}
    )
    together = np.concatenate([first, second])
    within = find_pairs(together, digests(100))
    assert [(p.first, p.second) for p in within] == [(3 * i, 60 + i) for i in range(20)]


@pytest.mark.parametrize("block", [7, 1024])
def test_similar_images_are_one_group(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", block)
    frames = noisy(pictures(1).repeat(50, axis=0))
    assert [(p.first, p.second) for p in find_pairs(frames, digests(50))] == [(0, i) for i in range(1, 50)]
    between = find_pairs(frames, digests(50, "a"), frames[:5], digests(5, "b"))
    assert [p.first for p in between] == list(range(50))
    assert all(p.second == p.first for p in between[:5])


def test_equal_digests_are_exact_whatever_they_show() -> None:
    flat = np.full((4, 16, 16, 3), 9, np.uint8)
    assert find_pairs(flat, [b"x", b"y", b"x", b"x"]) == [(0, 2, True), (0, 3, True)]
    assert find_pairs(flat[:2], [b"x", b"y"], flat[2:], [b"z", b"y"]) == [(1, 1, True)]


@pytest.mark.parametrize("similar", [False, True])
def test_twenty_thousand_images_take_seconds_and_little_memory(similar: bool) -> None:
    """In a process of its own, whose peak of memory is its own."""
    script = f"""
import time
from pathlib import Path
import numpy as np
from cyclegan.data.duplicates import find_pairs
rng = np.random.default_rng(0)
count = 20_000
coarse = rng.integers(0, 256, (1 if {similar} else count, 4, 4, 3), np.uint8)
images = np.broadcast_to(coarse.repeat(4, 1).repeat(4, 2), (count, 16, 16, 3)).copy()
if {similar}:
    images //= 2
    images += rng.integers(0, 4, images.shape, np.uint8)
start = time.process_time()
print(len(find_pairs(images, [str(i).encode() for i in range(count)])))
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
print(time.process_time() - start)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pairs, megabytes, seconds = done.stdout.split()
    assert int(pairs) == (19_999 if similar else 0)
    assert int(megabytes) < 200
    assert float(seconds) < 60
