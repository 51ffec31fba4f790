"""From packed arrays to batches: unpaired sampling, cropping and mirroring on the training device.

All chance of an epoch is drawn beforehand, as integers, from (seed, epoch) alone. So nothing has to be
remembered to resume in the middle of an epoch, every process of a distributed run knows the whole plan, and a
GPU never waits for the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cyclegan.errors import UsageError
from cyclegan.pixels import to_unit

EpochSize = Literal["larger", "smaller"]

# What a random stream is for; streams of different purposes never share numbers.
_ORDER, _AUGMENT, _BUFFER, _DIFFAUGMENT = range(4)


def steps_per_epoch(count_a: int, count_b: int, batch_size: int, size: EpochSize) -> int:
    """Batches in a pass through the larger or smaller domain; what fills no batch waits for the next pass."""
    images = max(count_a, count_b) if size == "larger" else min(count_a, count_b)
    return max(1, images // batch_size)


def generator_for(*key: int) -> torch.Generator:
    """A random generator decided by non-negative integers alone, independent for different keys."""
    seed = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(seed[0]) << 31 ^ int(seed[1]))


def shuffled(count: int, start: int, length: int, seed: int, domain: int) -> Tensor:
    """Positions start … start+length of an endless stream of shuffled passes through `count` images.

    Every image comes once in each pass, whatever the sizes of epochs and batches.
    """
    first, last = start // count, (start + length - 1) // count
    passes = [
        torch.randperm(count, generator=generator_for(seed, _ORDER, domain, i))
        for i in range(first, last + 1)
    ]
    return torch.cat(passes)[start - first * count :][:length]


@dataclass(frozen=True)
class Plan:
    """An epoch's choices as tables, int64 but for the last two.

    `a`, `b`: steps × batch × (image, top, left, mirrored). `slots_a`, `slots_b`: steps × batch × (slot,
    keep, show old), one row for each translation that enters the image pool. `chance_a`, `chance_b`: steps ×
    batch × `Sampling.chances`, float32 in [0, 1).
    """

    a: Tensor
    b: Tensor
    slots_a: Tensor
    slots_b: Tensor
    chance_a: Tensor
    chance_b: Tensor

    @property
    def steps(self) -> int:
        """Updates of the epoch."""
        return self.a.shape[0]

    def part(self, rank: int, world: int) -> Plan:
        """What the process `rank` of `world` works on: an equal run of places in every batch."""
        tables = (self.a, self.b, self.slots_a, self.slots_b, self.chance_a, self.chance_b)
        return Plan(*(table.chunk(world, dim=1)[rank] for table in tables))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How batches are drawn: sizes of the domains and of their H×W images, crops (0: whole), mirroring.

    `crop_width` 0: crops are square.
    """

    count_a: int
    count_b: int
    image_height: int
    image_width: int
    batch_size: int
    crop_size: int
    flip: bool
    epoch_size: EpochSize
    seed: int
    lane_slots: int
    """Slots of the image pool for each place in the batch; 0 without a pool."""
    chances: tuple[int, ...] = (0,)
    """Shape of the random numbers that the augmentation of a place in the batch needs."""
    crop_width: int = 0

    def __post_init__(self) -> None:
        if self.height > self.image_height or self.width > self.image_width:
            crop = f"{self.height}×{self.width}" if self.crop_width else f"crop_size = {self.crop_size}"
            raise UsageError(
                f"{crop} is larger than the prepared images of {self.image_height}×{self.image_width}: "
                "prepare larger ones or lower crop_size."
            )

    @property
    def height(self) -> int:
        """Height of the batches' images."""
        return self.crop_size or self.image_height

    @property
    def width(self) -> int:
        """Width of the batches' images."""
        return (self.crop_width or self.crop_size) if self.crop_size else self.image_width

    @property
    def steps(self) -> int:
        """Updates in each epoch."""
        return steps_per_epoch(self.count_a, self.count_b, self.batch_size, self.epoch_size)

    def plan(self, epoch: int) -> Plan:
        """The choices of an epoch, counted from 0."""
        return Plan(
            self._images(epoch, self.count_a, domain=0),
            self._images(epoch, self.count_b, domain=1),
            self._slots(epoch, domain=0),
            self._slots(epoch, domain=1),
            self._chances(epoch, domain=0),
            self._chances(epoch, domain=1),
        )

    def _images(self, epoch: int, count: int, domain: int) -> Tensor:
        length = self.steps * self.batch_size
        index = shuffled(count, epoch * length, length, self.seed, domain)
        chance = generator_for(self.seed, _AUGMENT, domain, epoch)
        top, left, mirrored = torch.zeros(3, length, dtype=torch.int64)
        if self.crop_size:
            top = torch.randint(self.image_height - self.height + 1, (length,), generator=chance)
            left = torch.randint(self.image_width - self.width + 1, (length,), generator=chance)
        if self.flip:
            mirrored = torch.randint(2, (length,), generator=chance)
        return torch.stack([index, top, left, mirrored], dim=1).view(self.steps, self.batch_size, 4)

    def _slots(self, epoch: int, domain: int) -> Tensor:
        """Fill the slots in turn; then, with even chance, show a random old image and keep the new one."""
        shape = (self.steps, self.batch_size)
        if not self.lane_slots:
            return torch.zeros(*shape, 3, dtype=torch.int64)
        chance = generator_for(self.seed, _BUFFER, domain, epoch)
        slot = torch.randint(self.lane_slots, shape, generator=chance)
        swap = torch.randint(2, shape, generator=chance)
        step = (epoch * self.steps + torch.arange(self.steps))[:, None].expand(shape)
        filling = step < self.lane_slots
        slot = torch.where(filling, step, slot)
        return torch.stack([slot, swap | filling.long(), swap * ~filling], dim=2)

    def _chances(self, epoch: int, domain: int) -> Tensor:
        chance = generator_for(self.seed, _DIFFAUGMENT, domain, epoch)
        return torch.rand(self.steps, self.batch_size, *self.chances, generator=chance)


class PackedImages:
    """One domain, uint8 or uint16 N×H×W×C, on the training device where it fits, else in host memory."""

    def __init__(
        self,
        array: NDArray[Any],
        device: torch.device,
        *,
        crop_size: int = 0,
        crop_width: int = 0,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        """`array` as `Prepared.array` returns it; `crop_size` 0: whole images, `crop_width` 0: squares."""
        images = torch.from_numpy(array)
        if device.type == "cuda" and images.nbytes < torch.cuda.mem_get_info(device)[0] // 5:
            images = images.to(device)
        self.images = images
        self._batch: Tensor | None = None
        self.device, self.memory_format = device, memory_format
        self.channels, self.bits = images.shape[3], 8 * images.dtype.itemsize
        whole = images.shape[1:3]
        self.height, self.width = (crop_size, crop_width or crop_size) if crop_size else whole

    def __len__(self) -> int:
        return self.images.shape[0]

    def batch(self, rows: Tensor) -> Tensor:
        """Cut, mirror and scale: rows B×(image, top, left, mirrored) → float32 B×C×H×W in [-1, 1].

        `rows` must lie where `images` do. On a CPU the next batch of as many rows overwrites this one: fresh
        memory for every batch would take the kernel as long as all the rest.
        """
        if self.device.type == "cpu":
            return self._fill(rows)
        cut = self._gather if self.images.is_cuda else self._copy
        pixels = cut(rows).to(self.device, non_blocking=True)
        return scale(pixels, self.memory_format)

    def _fill(self, rows: Tensor) -> Tensor:
        """The batch in memory that is used again, image by image, so that each stays in the cache."""
        if self._batch is None or len(self._batch) != len(rows):
            shape = (len(rows), self.channels, self.height, self.width)
            self._batch = torch.empty(shape, memory_format=self.memory_format)
        for out, (image, top, left, mirrored) in zip(self._batch, rows.tolist(), strict=True):
            cut = self.images[image, top : top + self.height, left : left + self.width]
            to_unit(out.copy_((cut.flip(1) if mirrored else cut).permute(2, 0, 1)), self.bits)
        return self._batch

    def _copy(self, rows: Tensor) -> Tensor:
        """Pixels B×H×W×C by copying rows of pixels: in host memory many times as fast as gathering pixels."""
        shape = (len(rows), self.height, self.width, self.channels)
        pixels = torch.empty(shape, dtype=self.images.dtype)
        for out, (image, top, left, mirrored) in zip(pixels, rows.tolist(), strict=True):
            cut = self.images[image, top : top + self.height, left : left + self.width]
            out.copy_(cut.flip(1) if mirrored else cut)
        return pixels

    def _gather(self, rows: Tensor) -> Tensor:
        """The same in one indexing operation, so that the host need not know the numbers in `rows`."""
        image, top, left, mirrored = (column[:, None, None] for column in rows.unbind(1))
        y = torch.arange(self.height, device=rows.device)[None, :, None]
        x = torch.arange(self.width, device=rows.device)[None, None, :]
        x = torch.where(mirrored.bool(), self.width - 1 - x, x)
        return self.images[image, top + y, left + x]


def scale(pixels: Tensor, memory_format: torch.memory_format = torch.channels_last) -> Tensor:
    """uint8 or uint16 N×H×W×C → float32 N×C×H×W in [-1, 1]."""
    # Reordered as integers, a quarter or half of what the floats take
    images = pixels.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    return to_unit(images)
