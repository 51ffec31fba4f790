"""Features of real images, kept between evaluations: the second one describes only the translations."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cyclegan.evaluation.extractors.features import Extractor
from cyclegan.evaluation.images import Images
from cyclegan.io.files import atomic_file

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """CYCLEGAN_CACHE if set, else `cyclegan` in the user's cache folder."""
    if chosen := os.environ.get("CYCLEGAN_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cyclegan"


def cached_features(images: Images, extractor: Extractor, batch_size: int, what: str = "features") -> Tensor:
    """Features of `images`, from the cache if these very pixels went through this very extractor before.

    N×features, float32 on the CPU.

    The key is content, not a name, so a changed image or another weights file never returns stale values.
    A folder that cannot be written costs a line in the log and nothing else.
    """
    content = hashlib.sha256(repr(images.shape).encode())
    content.update(np.ascontiguousarray(images).data)
    name = f"{extractor.name}-{extractor.sha256[:16]}-{content.hexdigest()[:32]}.npy"
    path = cache_folder() / "features" / name
    if path.is_file():
        try:
            values = np.load(path, allow_pickle=False)
            if values.shape == (len(images), extractor.dimensions):
                return torch.from_numpy(values)
        except (OSError, ValueError):
            pass
        logger.warning("The cached features %s are damaged and will be made again.", path)
    features = extractor(images, batch_size, what)
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, features.numpy())
    except OSError as error:
        logger.warning("Cannot keep features in %s: %s.", path.parent, error.strerror)
    return features
