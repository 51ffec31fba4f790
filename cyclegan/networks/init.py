"""Initial weights: the paper's normal distribution, and the one that the author of `vgg_unet` used."""

from __future__ import annotations

from torch import nn


def normal_(module: nn.Module, deviation: float = 0.02) -> None:
    """Convolutions from N(0, 0.02²) with bias 0 (arXiv 1703.10593, section 7.1)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, deviation)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def glorot_(module: nn.Module) -> None:
    """Convolutions by Glorot and Bengio's uniform rule with bias 0, the default of Keras."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
