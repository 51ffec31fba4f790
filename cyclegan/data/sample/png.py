"""PNG files whose bytes depend on the pixels alone.

A dataset that is drawn by code and known by its checksum needs an encoder that never changes. zlib, zlib-ng
and the hardware coders behind `zlib.compress` each give other bytes, and so does Pillow from build to build.
So this is a small deflate of our own (RFC 1951) for images of at most 256 colours: one block with a Huffman
code of its own; a match copies either the byte before or the row above, which is what flat colour is made of.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

END_OF_BLOCK = 256
# RFC 1951, 3.2.5: the first length that each of the symbols 257 to 285 stands for, and its extra bits
LENGTH_BITS = np.array([0] * 8 + [extra for extra in range(1, 6) for _ in range(4)] + [0])
LENGTHS = 3 + np.cumsum(1 << LENGTH_BITS) - (1 << LENGTH_BITS)
LENGTHS[-1] = 258
SHORTEST_MATCH, LONGEST_MATCH = 4, 258


def encode(image: NDArray[np.integer]) -> bytes:
    """The PNG file (with a palette) of an H×W×3 RGB image in 0 to 255.

    Raises ValueError for more than 256 colours, and for a width under 4, where the row above is too near for
    `_distance_symbol`.
    """
    height, width, _ = image.shape
    packed = image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, ranks = np.unique(packed, return_inverse=True)
    if len(colours) > 256 or width < 4:
        raise ValueError(
            f"{width} pixels wide with {len(colours)} colours; at least 4 and at most 256 can be"
        )
    palette = np.stack([colours >> 16, colours >> 8, colours], axis=1).astype(np.uint8)
    indices = ranks.reshape(height, width).astype(np.uint8)
    candidates = (_filtered(indices, kind) for kind in (0, 1))
    compressed = min((_zlib(data, width + 1) for data in candidates), key=len)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", compressed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _filtered(indices: NDArray[np.uint8], kind: int) -> NDArray[np.uint8]:
    """The rows, each led by its filter type: 0 none, 1 the difference to the left neighbour."""
    rows = np.diff(indices, axis=1, prepend=np.uint8(0)) if kind else indices
    return np.insert(rows, 0, kind, axis=1).ravel()


def _zlib(data: NDArray[np.uint8], stride: int) -> bytes:
    """`data` as a zlib stream (RFC 1950)."""
    return b"\x78\x01" + _deflate(data, stride) + struct.pack(">I", zlib.adler32(data.tobytes()))


def _deflate(data: NDArray[np.uint8], stride: int) -> bytes:
    symbols, extras, extra_bits, far = _tokens(data, stride)
    lengths = _code_lengths(np.bincount(symbols, minlength=286))
    codes = _codes(lengths)
    is_match = symbols > END_OF_BLOCK
    distance = _distance_symbol(stride)

    # header: last block, dynamic codes, 286 literals and lengths, the distances, and a code-length code that
    # spells each of the lengths 0 to 15 with 4 bits (in the RFC's order, the repeat codes 16 to 18 first)
    fields = [(1, 1), (2, 2), (286 - 257, 5), (distance[0], 5), (15, 4), *[(0, 3)] * 3, *[(4, 3)] * 16]
    # two distance codes of one bit: 0 the byte before, 1 the row above
    distance_lengths = [int(d in (0, distance[0])) for d in range(distance[0] + 1)]
    fields += [(_reversed(length, 4), 4) for length in (*lengths, *distance_lengths)]

    # a token: its code, then for a match the length's extra bits, the distance's code and its extra bits
    values = np.stack([codes[symbols], extras, far, far * distance[1]], axis=1)
    bits = np.stack([lengths[symbols], extra_bits, is_match, far * distance[2]], axis=1)
    head = np.array(fields)
    return _pack(np.concatenate([head[:, 0], values.ravel()]), np.concatenate([head[:, 1], bits.ravel()]))


def _tokens(data: NDArray[np.uint8], stride: int) -> list[NDArray[np.int64]]:
    """Greedy parse: each token's symbol, extra value, extra bits, and whether it copies the row above."""
    before, above = _run_lengths(data, 1), _run_lengths(data, stride)
    best = np.minimum(np.maximum(before, above), LONGEST_MATCH)
    inside = np.zeros(len(data) + 1, dtype=np.int64)  # after cumsum: 1 in a match, its first byte excepted
    end = 0
    for start in np.flatnonzero(best >= SHORTEST_MATCH).tolist():
        if start >= end:
            end = start + int(best[start])
            inside[start + 1] += 1
            inside[end] -= 1
    at = np.flatnonzero(np.cumsum(inside[:-1]) == 0)
    is_match = best[at] >= SHORTEST_MATCH
    rank = np.searchsorted(LENGTHS, best[at], side="right") - 1
    symbols = np.where(is_match, 257 + rank, data[at])
    extras = np.where(is_match, best[at] - LENGTHS[rank], 0)
    extra_bits = np.where(is_match, LENGTH_BITS[rank], 0)
    far = (is_match & (above[at] > before[at])).astype(np.int64)
    return [
        np.append(column, last)
        for column, last in ((symbols, END_OF_BLOCK), (extras, 0), (extra_bits, 0), (far, 0))
    ]


def _run_lengths(data: NDArray[np.uint8], distance: int) -> NDArray[np.int64]:
    """For each position how many bytes from there on equal those `distance` earlier."""
    position = np.arange(len(data))
    differs = np.ones(len(data), dtype=bool)
    differs[distance:] = data[distance:] != data[:-distance]
    next_difference = np.where(differs, position, len(data))
    return np.minimum.accumulate(next_difference[::-1])[::-1] - position


def _distance_symbol(distance: int) -> tuple[int, int, int]:
    """RFC 1951, 3.2.5: the symbol of a distance of at least 5, its extra value and its extra bits."""
    bits = (distance - 1).bit_length() - 2
    return 2 * bits + 2 + (distance - 1 >> bits & 1), distance - 1 & (1 << bits) - 1, bits


def _code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Huffman code lengths, 0 for unused symbols.

    A symbol counts for at least 1/512 of the whole, so that no code is longer than the 15 bits allowed:
    the weight at depth d is at least the Fibonacci number F(d).
    """
    floor = int(counts.sum()) // 512 + 1
    heap: list[tuple[int, int, tuple[int, ...]]] = [
        (max(int(count), floor), symbol, (symbol,)) for symbol, count in enumerate(counts) if count
    ]
    heapq.heapify(heap)
    lengths = np.zeros(len(counts), dtype=np.int64)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        members = first[2] + second[2]
        lengths[list(members)] += 1
        heapq.heappush(heap, (first[0] + second[0], min(first[1], second[1]), members))
    return lengths


def _codes(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The canonical codes (RFC 1951, 3.2.2), first bit lowest."""
    codes = np.zeros(len(lengths), dtype=np.int64)
    code = 0
    for length in range(1, 16):
        for symbol in np.flatnonzero(lengths == length):
            codes[symbol] = _reversed(code, length)
            code += 1
        code <<= 1
    return codes


def _reversed(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


def _pack(values: Sequence[int] | NDArray[np.int64], bits: NDArray[np.int64]) -> bytes:
    """Each value's lowest `bits` bits, one after another, lowest bit first."""
    starts = np.cumsum(bits) - bits
    offset = np.arange(int(bits.sum())) - np.repeat(starts, bits)
    return np.packbits(np.repeat(values, bits) >> offset & 1, bitorder="little").tobytes()
