"""The image pool: discriminators also see translations of earlier generators (Shrivastava et al., 2017)."""

from __future__ import annotations

import torch
from torch import Tensor


def lane_slots(pool_size: int, batch_size: int) -> int:
    """Slots for each place in a batch, so that all together hold at least `pool_size` images."""
    return -(-pool_size // batch_size)


class ImagePool:
    """Former translations, B lanes × slots × C × H × W: the i-th image of every batch has a lane of its own.

    With batch size 1 this is the paper's buffer. With larger batches an image stays for as many updates as in
    one common pool, the images of a batch never compete for a slot, and N processes hold N parts of one
    buffer. Which slot, and whether to swap, comes with the plan of the epoch.
    """

    def __init__(
        self, lanes: int, slots: int, height: int, width: int, device: torch.device, channels: int = 3
    ) -> None:
        self.images = torch.zeros(lanes, slots, channels, height, width, device=device)
        self._lane = torch.arange(lanes, device=device)

    def exchange(self, fakes: Tensor, rows: Tensor) -> Tensor:
        """New translations B×C×H×W and B×(slot, keep, show old) in; what the discriminator is shown out."""
        if self.images.shape[1] == 0:
            return fakes
        slot, keep, show_old = rows.unbind(1)
        old = self.images[self._lane, slot]
        self.images[self._lane, slot] = torch.where(_column(keep), fakes.to(old.dtype), old)
        return torch.where(_column(show_old), old, fakes.to(old.dtype))


def _column(flags: Tensor) -> Tensor:
    return flags.bool()[:, None, None, None]
