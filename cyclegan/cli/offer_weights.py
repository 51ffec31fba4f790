"""The Inception weights that FID needs, fetched before the first minute of training is spent."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.errors import CycleGANError
from cyclegan.pixel_kind import ALL_RGB, Kinds, all_rgb

if TYPE_CHECKING:
    from cyclegan.evaluation.config import EvaluateConfig

logger = logging.getLogger(__name__)


def offer_evaluation_weights(config: EvaluateConfig, kinds: Kinds = ALL_RGB) -> None:
    """Ask once, in a terminal, whether to download what FID needs; otherwise `auto` falls back silently."""
    if not all_rgb(kinds):
        return
    if config.features != "auto" or config.weights or find_spec("torch_fidelity") is None:
        return
    from cyclegan.evaluation.extractors.inception_weights import cached_file, load_weights

    asked = Path.home() / ".cache" / "cyclegan" / "asked-for-weights"
    if cached_file() or asked.exists() or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    print(
        "FID needs the Inception weights, a download of 95 MB. Get them now? [Y/n] ", end="", file=sys.stderr
    )
    answer = sys.stdin.readline().strip().lower()
    with suppress(OSError):
        asked.parent.mkdir(parents=True, exist_ok=True)
        asked.touch()
    if answer in {"", "y", "yes"}:
        try:
            load_weights()
        except CycleGANError as error:
            logger.warning("%s", error)
    else:
        logger.info("Distances come from a fixed random network; `cyclegan weights` gets the weights later.")


def get_evaluation_weights(config: EvaluateConfig) -> None:
    """Fetch the Inception weights that evaluate will ask for, while nothing has been spent yet."""
    if config.features.startswith("inception") and not config.weights:
        from cyclegan.evaluation.extractors.inception_weights import load_weights

        load_weights()
