"""Named feature extractors: images to the vectors whose distributions are compared."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.config import Features, check_features_of
from cyclegan.evaluation.extractors.inception_weights import Weights, cached_file, load_weights
from cyclegan.evaluation.images import Images, batches
from cyclegan.pixel_kind import ALL_RGB, Kinds, all_rgb
from cyclegan.pixels import to_unit

logger = logging.getLogger(__name__)

RANDOM_DIMENSIONS = 24


@dataclass(frozen=True)
class Extractor:
    """A function of images with a name and a fingerprint; distances are comparable where both agree."""

    name: str
    """inception2048, inception768, inception192, inception64 or random."""
    dimensions: int
    sha256: str
    """Of the weights file; of the weights' bytes for the random network."""
    function: Callable[[Tensor], Tensor]
    """uint8 N×3×H×W on `device` → float32 N×`dimensions`; the random network takes any packed images."""
    device: torch.device

    @property
    def frechet(self) -> str:
        """What its Fréchet distance is called: FID is the name of one extractor's alone."""
        return "fid" if self.name == "inception2048" else f"frechet_{self.name}"

    @property
    def kernel(self) -> str:
        """What its kernel distance is called: KID is the name of one extractor's alone."""
        return "kid" if self.name == "inception2048" else f"kernel_{self.name}"

    @property
    def suffix(self) -> str:
        """What other metrics from these features carry in their name: nothing for inception2048."""
        return "" if self.name == "inception2048" else f"_{self.name}"

    def __call__(self, images: Images, batch_size: int, what: str = "features") -> Tensor:
        """Features of packed images N×H×W×C: float32 N×`dimensions` on the CPU."""
        rows = []
        progress = tqdm(total=len(images), desc=what, unit="image", disable=None, leave=False)
        with torch.inference_mode(), full_precision(), progress:
            for batch in batches(images, batch_size):
                pixels = torch.tensor(batch, device=self.device).permute(0, 3, 1, 2)
                rows.append(self.function(pixels).float().cpu())
                progress.update(len(batch))
        return torch.cat(rows)


def full_precision() -> AbstractContextManager[None]:
    """Float32 convolutions without TF32, by repeatable algorithms, whatever the training was set to."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)  # type: ignore[no-any-return, unused-ignore]


def load_extractor(
    features: Features,
    weights: str = "",
    weights_sha256: str = "",
    device: torch.device | str = "cpu",
    *,
    prefix: str = "",
    kinds: Kinds = ALL_RGB,
) -> Extractor:
    """The extractor that `features` names (see EvaluateConfig).

    `auto` never waits for a download: it uses `weights`, else those in torch's cache, else `random`, which is
    all there is for images of `kinds` that Inception does not take.
    `prefix` is what the names of the settings begin with in messages, such as `evaluate_` in train.
    Raises UsageError or CycleGANError if the weights cannot be read or do not provide the features.
    """
    device = torch.device(device)
    check_features_of(kinds, features, weights, prefix)
    if features == "random" or not all_rgb(kinds):
        return random_network(device)
    if features == "auto" and not weights and cached_file() is None:
        logger.warning(
            "No Inception weights found: distances come from a fixed random network. They rank models on the "
            "same data but are not FID or KID: for those set %(prefix)sfeatures=inception2048, or name "
            "%(prefix)sweights.",
            {"prefix": prefix},
        )
        return random_network(device)
    found = load_weights(weights, weights_sha256, prefix=prefix)
    given = found.features()
    wanted = max(given, default=0) if features == "auto" else int(features.removeprefix("inception"))
    if wanted not in given:
        raise UsageError(
            f"The Inception weights {weights} cannot give the features '{wanted}', since layers before them "
            f"are all zero; they can give {', '.join(map(str, given)) or 'none'}."
        )
    return inception(found, wanted, device)


def inception(weights: Weights, dimensions: int, device: torch.device) -> Extractor:
    """torch-fidelity's FID Inception (TensorFlow's of 2015-12-05), of 64, 192, 768 or 2048 features.

    Images of any size; resized to 299×299 as TensorFlow 1 does it, inside the network. Batch norm is folded
    into the convolutions and memory is laid out channels last: 1.6 times as fast on CPU, equal to 1e-6.
    Raises CycleGANError where torch-fidelity is missing or the weights are other ones.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3
    except ImportError:
        raise CycleGANError(
            "The Inception features need torch-fidelity: pip install 'cyclegan-pipeline[fid]'."
        ) from None
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    file = io.BytesIO()  # torch-fidelity unpickles whatever it is given: so it gets what we wrote
    torch.save(weights.state, file)
    file.seek(0)
    try:
        network = FeatureExtractorInceptionV3(
            "inception", [str(dimensions)], feature_extractor_weights_path=file
        )
    except RuntimeError as error:
        raise CycleGANError(
            f"The weights do not fit the FID Inception: {str(error).splitlines()[0]}"
        ) from None
    for module in network.modules():
        if isinstance(module, BasicConv2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    network = network.eval().to(device, memory_format=torch.channels_last)
    return Extractor(
        f"inception{dimensions}", dimensions, weights.sha256, lambda pixels: network(pixels)[0], device
    )


def random_network(device: torch.device) -> Extractor:
    """A fixed random convolutional network: texture and colour at three scales, used without Inception.

    Random features do tell distributions apart, but weigh differences otherwise than people do. The few
    dimensions keep the distance meaningful for tens of images. There is one for every number of channels;
    the digest is that of the one for RGB.
    """

    @cache
    def weights(channels: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(20151205)
        widths = (channels, 32, 64, 128)
        kernels = [
            torch.randn(o, i, 3, 3, generator=generator) * (2 / (9 * i)) ** 0.5 for i, o in pairwise(widths)
        ]
        projection = torch.randn(sum(widths[1:]), RANDOM_DIMENSIONS, generator=generator)
        return [*kernels, projection / projection.norm(dim=0)]

    digest = hashlib.sha256(b"".join(t.numpy().tobytes() for t in weights(3))).hexdigest()

    def function(pixels: Tensor) -> Tensor:
        x = to_unit(pixels)
        *kernels, projection = (tensor.to(device) for tensor in weights(x.shape[1]))
        scales = []
        for kernel in kernels:
            x = F.leaky_relu(F.conv2d(x, kernel, stride=2, padding=1), 0.2)
            scales.append(x.mean((2, 3)))
        features: Tensor = torch.cat(scales, 1) @ projection
        return features

    return Extractor("random", RANDOM_DIMENSIONS, digest, function, device)
