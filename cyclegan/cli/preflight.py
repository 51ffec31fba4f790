"""What a later step will need, checked before the first minute is spent; no check here imports torch.

`check_disk` is the exception: it counts parameters, and runs when torch is needed anyway.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import is_file
from cyclegan.pixel_kind import ALL_RGB, Kinds

if TYPE_CHECKING:
    from cyclegan.data.config import FetchConfig
    from cyclegan.data.prepared import Prepared
    from cyclegan.evaluation.config import EvaluateConfig, Features
    from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)

MINIMUM_TEST_IMAGES = 2  # a covariance needs two
KEPT_CHECKPOINTS = 4  # the last two, the last at the full learning rate, and the one being written


def size_multiple(config: TrainConfig) -> int:
    """What image sides must be multiples of for the generator that `config` names."""
    return 2**config.depth if config.generator == "unet" else {"vgg_unet": 32, "resnet": 4}[config.generator]


def least_side(config: TrainConfig) -> int:
    """The smallest images of which every layer of the discriminator has enough values, in pixels."""
    if config.discriminator == "strided":
        return 32
    patch: int = 3 * 2**config.discriminator_layers
    return max(16, patch) if config.discriminator == "perceptual" else patch


def check_sizes(config: TrainConfig, height: int, width: int) -> None:
    """Raise UsageError where images of this size don't fit crop and network."""
    sides = config.crop(height, width)
    if sides[0] > height or sides[1] > width:
        crop = f"{sides[0]}×{sides[1]}" if config.crop_width else f"crop_size = {config.crop_size}"
        raise UsageError(
            f"{crop} is larger than the prepared images of {height}×{width}: "
            "lower it, or raise the load_size of preprocess."
        )
    multiple = size_multiple(config)
    if any(side % multiple for side in sides):
        raise UsageError(
            f"{config.generator} takes images whose sides are multiples of {multiple}, not "
            f"{sides[0]}×{sides[1]}: choose crop_size, or the load_size of preprocess, to fit."
        )
    if min(sides) < least_side(config):
        raise UsageError(
            f"The discriminator needs images of at least {least_side(config)} pixels, not {min(sides)}: "
            "raise crop_size or load_size, or choose patchgan with fewer discriminator_layers."
        )


def one_source(given: FetchConfig, default: FetchConfig) -> FetchConfig:
    """`given` with one source of images; raises UsageError where the command line names two.

    One that a preset or a parameter file names is a `default`, for which another may be given instead: the
    SHA-256 that the file expects of it is not that one's.
    """
    if given.a and given.source != default.source:
        if (given.a, given.b) != (default.a, default.b):
            raise UsageError(
                f"Either {given.source} or a and b are the images: leave out the source, or a and b."
            )
        given = replace(given, a="", b="")
    other = (given.a, given.b, given.source) != (default.a, default.b, default.source)
    return replace(given, sha256="") if other and given.sha256 == default.sha256 else given


def check_address(address: str, what: str) -> None:
    """Raise UsageError for a weights file that is missing, or an s3:// address without boto3."""
    if address.startswith("s3://"):
        check_s3(address)
    elif "://" not in address and not is_file(Path(address)):
        raise UsageError(f"There is no file {address}: {what} names it.")


def check_s3(address: str) -> None:
    """Raise UsageError for an s3:// address where boto3 is not installed."""
    if address.startswith("s3://") and find_spec("boto3") is None:
        raise UsageError(f"{address} needs boto3: pip install 'cyclegan-pipeline[s3]'.")


def check_tracking() -> None:
    """Raise CycleGANError where runs go to an MLflow server that does not answer."""
    from cyclegan.tracking.runs import enabled
    from cyclegan.tracking.server import check_server

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")) and enabled():
        check_server()


def check_train(prepared: Path, config: TrainConfig, checkpoints: str) -> Prepared:
    """Check what `train` needs, and warn where `evaluate` would refuse later. Returns the opened folder."""
    from cyclegan.data.prepared import Prepared

    data = Prepared.open(prepared)
    if known := with_initial(config):
        check_sizes(known, data.height, data.width)
        known.check_kinds(data.kinds)
    check_train_alone(config, checkpoints)
    return data


def with_initial(config: TrainConfig) -> TrainConfig | None:
    """The parameters with the generator of the model that `init` names; None where only its content tells.

    Raises UsageError where there is no such model or file, or one of another architecture.
    """
    if not config.init:
        return config
    if files := config.reference_files():
        for file in files.values():
            check_address(file, "--init")
        return None
    if config.from_checkpoint():
        check_address(config.init, "--init")
        return None
    if "://" in config.init or config.init.startswith(("models:", "runs:")):
        check_s3(config.init)
        return None
    from cyclegan.model_config import read_config

    return config.with_generator(read_config(Path(config.init))["generator"], config.init)


def check_train_alone(config: TrainConfig, checkpoints: str) -> None:
    """What can be said of training before there are images."""
    check_s3(checkpoints)
    if config.needs_vgg() and config.weights not in {"imagenet", "none"}:
        check_address(config.weights, "--weights")
    if config.evaluate_every:
        _check_features(config.evaluate_features, config.evaluate_weights, "evaluate_")
    check_tracking()


def check_test_images(data: Prepared) -> None:
    """Raise UsageError where there are too few test images to evaluate on."""
    for domain in ("testA", "testB"):
        count = data.domains[domain]["count"]
        if count < MINIMUM_TEST_IMAGES:
            raise UsageError(
                f"{domain} has {count} {'image' if count == 1 else 'images'}, and evaluate needs at least "
                f"{MINIMUM_TEST_IMAGES}: add images, or raise test_share of fetch."
            )


def check_model(model: Path) -> None:
    """Raise UsageError where `model` holds no generators."""
    if not is_file(model / "config.json"):
        raise UsageError(f"There is no model in {model}: it has no config.json; run `cyclegan train` first.")


def _check_features(features: Features, weights: str, prefix: str = "") -> None:
    if (features.startswith("inception") or weights) and find_spec("torch_fidelity") is None:
        raise UsageError(
            f"{prefix}features = {features} needs torch-fidelity: pip install 'cyclegan-pipeline[fid]', or "
            f"choose {prefix}features = random."
        )
    if weights:
        check_address(weights, f"--{prefix.replace('_', '-')}weights")


def check_evaluate(config: EvaluateConfig, kinds: Kinds = ALL_RGB) -> None:
    """Raise UsageError where evaluating images of these kinds needs packages, files or features that are not
    there.
    """
    from cyclegan.evaluation.config import check_features_of

    check_features_of(kinds, config.features, config.weights)
    _check_features(config.features, config.weights)
    champion = config.champion
    if champion and not champion.startswith("models:/") and not is_file(Path(champion) / "scores.json"):
        raise UsageError(f"champion = {champion}: there are no scores in that folder.")


def check_disk(config: TrainConfig, data: Prepared, checkpoints: str, model: Path) -> None:
    """Raise CycleGANError where the disk has no room for checkpoints and model."""
    known = with_initial(config)
    if known is None:
        return
    config = known
    import torch

    from cyclegan.training.build import build_networks

    with torch.device("meta"):
        networks = build_networks(config, data.kinds)
    generators = sum(p.numel() for p in networks.generator_parameters())
    total = sum(p.numel() for p in networks.parameters())
    height, width = config.crop(data.height, data.width)
    # float32: weights and Adam's two moments, generators' averages, two pools of translations, VGG-16
    channels = sum(kind.channels for kind in data.kinds.values())
    numbers = 3 * total + (generators if config.ema else 0) + config.pool_size * channels * height * width
    numbers += sum(buffer.numel() for buffer in networks.buffers())
    needs = {model: 2 * 4 * generators}
    if "://" not in checkpoints:
        there = sum(
            f.stat().st_size for f in Path(checkpoints).rglob("*") if f.is_file()
        )  # of this run, mostly
        needs[Path(checkpoints)] = max(0, KEPT_CHECKPOINTS * 4 * numbers - there)
    by_disk: dict[int, tuple[Path, int]] = {}
    for path, needed in needs.items():
        existing = next(above for above in (path.absolute(), *path.absolute().parents) if above.exists())
        device = existing.stat().st_dev
        by_disk[device] = (existing, by_disk.get(device, (existing, 0))[1] + needed)
    for existing, needed in by_disk.values():
        free = shutil.disk_usage(existing).free
        if free < needed:
            raise CycleGANError(
                f"Checkpoints and model take {needed / 1e9:.1f} GB, and {existing} has {free / 1e9:.1f} GB "
                "left: make room, or choose another place with --checkpoints and --model."
            )
