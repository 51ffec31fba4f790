"""Parameters of importing foreign generators; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from cyclegan.errors import UsageError
from cyclegan.io.uri import hide_secrets


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Generators that the reference implementation saved: latest_net_G_A.pth, latest_net_G_B.pth, or one."""

    AtoB: str = ""
    """File or URI of the generator A→B: latest_net_G_A.pth."""
    BtoA: str = ""
    """File or URI of the generator B→A: latest_net_G_B.pth."""
    image_size: int = 256
    """Side of the images that they were trained on."""

    def __post_init__(self) -> None:
        hide_secrets(self, "AtoB", "BtoA")
        if self.image_size < 4 or self.image_size % 4:
            raise UsageError(f"image_size = {self.image_size} must be a multiple of 4.")
