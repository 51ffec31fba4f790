"""Activation checkpointing: keep a segment's input only, compute the segment again in the backward pass."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Recomputable(nn.Module):
    """A network that can trade time for memory: `gradient_checkpointing` computes its segments twice.

    The results are the same to the bit; a training update takes about a third longer.
    """

    gradient_checkpointing: bool = False

    def segment(self, layer: nn.Module, x: Tensor) -> Tensor:
        """Apply `layer` to `x`, remembering no activation inside it when `gradient_checkpointing` is set."""
        if self.gradient_checkpointing and self.training:
            # The networks draw no random numbers, so there is no generator state to keep.
            output: Tensor = checkpoint(layer, x, use_reentrant=False, preserve_rng_state=False)
        else:
            output = layer(x)
        return output
