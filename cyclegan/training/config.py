"""Training parameters, as one flat dataclass.

A field decides the weights unless its default is wrapped in `indifferent` or `schedule`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from cyclegan.errors import UsageError
from cyclegan.evaluation.config import Features, check_features, check_features_of
from cyclegan.fields import default_of, indifferent, schedule
from cyclegan.io.uri import hide_secrets, path_of, reveal
from cyclegan.pixel_kind import Kinds, in_words

ARCHITECTURE = ("generator", "blocks", "depth", "width", "upsample", "norm")
"""Fields that decide what the generators are built as."""
DIFFAUGMENT = ("color", "translation", "cutout")
"""What `diffaugment` may name."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Parameters of training. The defaults are the project's own model on 256×256 crops."""

    # --- networks
    generator: Literal["vgg_unet", "resnet", "unet"] = "vgg_unet"
    """Architecture of both generators."""
    blocks: int = 9
    """Residual blocks of `resnet`: the paper uses 6 at 128×128, 9 from 256×256 up."""
    depth: int = 7
    """Downsampling steps of `unet`; image sides must be multiples of 2^depth."""
    width: int = 64
    """Channels of the first layer of `resnet` and `unet`."""
    upsample: Literal["transposed", "resize"] = "transposed"
    """Upsampling in `resnet`. transposed: the paper's; resize: resize, then convolve, no checkerboards."""
    norm: Literal["instance", "layer"] = "instance"
    """Normalise each channel of an image by itself, or all its channels together with one scale and shift."""
    weights: str = "imagenet"
    """VGG-16 weights, with which the encoder of `vgg_unet` starts and through which `perceptual`
    discriminators see: imagenet (from torchvision), none, or a file or URI."""
    weights_partial: bool = False
    """Accept `weights` that lack some of the encoder's layers, which are then initialised at random."""
    init: str = ""
    """Continue from trained generators; discriminators start from scratch. A model folder, s3://, hf:// or an
    MLflow address such as models:/maps@champion, or files of the reference implementation: AtoB.pth,BtoA.pth.
    Or a checkpoint, whose discriminators and moments of Adam are kept: a file or s3://….safetensors.
    """
    discriminator: Literal["patchgan", "strided", "perceptual"] = "strided"
    """patchgan: the paper's, of 70×70; strided: four stride-2 layers, normalisation after the activation;
    perceptual: patchgan, and three heads that judge VGG-16's view of the image, for few images."""
    discriminator_layers: int = 3
    """Strided layers of `patchgan` and `perceptual`: 3 give patches of 70×70 pixels."""
    discriminator_width: int = 64
    """Channels of the discriminators' first layer."""
    discriminator_norm: Literal["same", "instance", "layer", "none"] = "same"
    """Normalisation in the discriminators; same: what `norm` says, as in the generators. none: they see
    the colours of even areas, which a normalisation takes away, and learn textures more slowly."""

    # --- objective
    objective: Literal["least_squares", "vanilla"] = "least_squares"
    """Adversarial loss: least squares (LSGAN) or cross entropy."""
    lambda_cycle: float = 10.0
    """Weight of the cycle loss (L1)."""
    lambda_identity: float = 1.0
    """Weight of the identity loss (L1); 0 disables it and makes an update a third cheaper."""
    order: Literal["generators_first", "discriminators_first"] = "generators_first"
    """Which pair of networks an update changes first."""
    discriminator_updates: Literal["joint", "separate"] = "joint"
    """One step on half the sum of real and fake loss, or a step on each at full weight."""
    pool_size: int = 50
    """Earlier translations kept to train the discriminators on; 0: only the newest."""

    # --- data
    crop_size: int = 256
    """Side of random square crops; 0: whole images."""
    crop_width: int = 0
    """Width of the crops if they are not square; crop_size is then their height. 0: square."""
    image_size: int = indifferent(0)
    """Scale test images for samples and scores so that their shorter side has this many pixels; 0: as
    prepared, the scale of the crops. For protocols that test at another scale, such as load 286, crop 256,
    test 256."""
    flip: bool = True
    """Mirror images left to right at random."""
    diffaugment: str = ""
    """Differentiable augmentation of everything the discriminators see, for datasets of fewer than about a
    hundred images: color,translation,cutout or some of these."""
    epoch_size: Literal["larger", "smaller"] = "larger"
    """An epoch passes once through the larger or the smaller domain."""

    # --- optimisation
    batch_size: int = 1
    """Images of each domain in an update, in total over all processes."""
    accumulation_steps: int = 1
    """Compute an update's batch in this many parts, to save memory."""
    epochs: int = schedule(100)
    """Epochs at the full learning rate."""
    decay_epochs: int = schedule(100)
    """Epochs after them, over which the learning rate falls to 0."""
    decay: Literal["linear", "cosine"] = schedule("linear")
    """How the learning rate falls."""
    lr: float = 2e-4
    """Learning rate of Adam."""
    beta1: float = 0.5
    """Decay of Adam's first moment."""
    beta2: float = 0.999
    """Decay of Adam's second moment."""
    ema: float = 0.0
    """EMA decay of the generators' weights per update; samples and export use the EMA. 0 disables it."""
    seed: int = 0
    """Decides initial weights, order of images, augmentation and image pool."""

    # --- machine
    device: str = indifferent("auto")
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the networks; losses are fp32. auto: bf16 on Ampere or newer GPUs and on CPUs with
    AVX-512 BF16 or AMX, else fp32."""
    compile: Literal["auto", "off", "on"] = indifferent("auto")
    """Compile the networks; auto does so on CUDA if the run is long enough to pay off."""
    deterministic: bool = indifferent(False)
    """On GPUs, only algorithms with bit-identical results (CPU results always are)."""
    threads: int = indifferent(0)
    """CPU threads; 0: OMP_NUM_THREADS, or else as many as the container may use."""
    gradient_checkpointing: bool = indifferent(False)
    """Recompute the generators' activations in the backward pass: less memory, a third more time."""

    # --- watching
    log_every: int = indifferent(50)
    """Updates between two log lines."""
    sample_every: int = indifferent(1)
    """Epochs between two grids of sample translations; 0 logs only the last one."""
    samples: int = indifferent(4)
    """Test images of each domain in a grid."""
    checkpoint_minutes: float = indifferent(10.0)
    """Minutes between two checkpoints within an epoch."""
    checkpoint_every: int = indifferent(1)
    """Epochs between two checkpoints; the last epoch always ends with one."""
    evaluate_every: int = indifferent(0)
    """Epochs between two evaluations of the kernel distance on the test images, the last epoch included; 0:
    never."""
    evaluate_features: Features = indifferent("auto")  # noqa: RUF009
    """Feature extractor of those evaluations: see `features` of evaluate."""
    evaluate_weights: str = indifferent("")
    """Inception weights of those evaluations: see `weights` of evaluate."""
    evaluate_weights_sha256: str = indifferent("")
    """SHA-256 that the file of `evaluate_weights` must have; empty: only known files are accepted."""
    patience: int = indifferent(0)
    """Stop after this many evaluations without a better score; 0 never stops early."""

    def __post_init__(self) -> None:
        hide_secrets(self, "weights", "evaluate_weights", "init")
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float):
                _require(math.isfinite(value), item.name, value, "must be a finite number")
        positive = ("blocks", "depth", "width", "discriminator_layers", "discriminator_width", "batch_size")
        for name in (*positive, "accumulation_steps", "log_every", "samples", "checkpoint_every", "lr"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "must be positive")
        natural: tuple[str, ...] = ("lambda_cycle", "lambda_identity", "pool_size", "crop_size", "image_size")
        natural += (
            "crop_width",
            "epochs",
            "decay_epochs",
            "sample_every",
            "evaluate_every",
            "patience",
        )
        for name in (*natural, "threads", "seed"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "must not be negative")
        for name in ("beta1", "beta2", "ema"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "must be in [0, 1)")
        _require(self.epochs + self.decay_epochs > 0, "epochs", 0, "and decay_epochs cannot both be 0")
        if self.crop_width and not self.crop_size:
            raise UsageError(
                f"train: crop_width = {self.crop_width} needs crop_size, the height of the crops."
            )
        _require(
            self.checkpoint_minutes > 0, "checkpoint_minutes", self.checkpoint_minutes, "must be positive"
        )
        _require(
            self.batch_size % self.accumulation_steps == 0,
            "accumulation_steps",
            self.accumulation_steps,
            "must divide batch_size",
        )
        check_features(
            self.evaluate_features, self.evaluate_weights, self.evaluate_weights_sha256, prefix="evaluate_"
        )
        _check_augmentations(self.diffaugment, self.augmentations())
        if self.discriminator == "perceptual" and self.weights == "none":
            raise UsageError(
                "train: weights = none, and discriminator = perceptual needs those of VGG-16: "
                "set weights to imagenet, a file or a URI."
            )
        if self.patience and not self.evaluate_every:
            raise UsageError(
                "patience needs evaluate_every: without evaluations there is no score to stop by."
            )

    def check_kinds(self, kinds: Kinds) -> None:
        """Raise UsageError where images of these kinds cannot be trained on with these parameters."""
        a, b = (kinds[domain].channels for domain in "AB")
        if self.generator == "vgg_unet" and (a, b) != (3, 3):
            raise UsageError(
                f"train: generator = vgg_unet takes 3 channels, as the weights of its encoder do, and here "
                f"{in_words(kinds)}: set generator = resnet or unet."
            )
        if self.discriminator == "perceptual" and (a, b) != (3, 3):
            raise UsageError(
                f"train: discriminator = perceptual takes 3 channels, as VGG-16 does, and here "
                f"{in_words(kinds)}: set discriminator = patchgan."
            )
        if self.lambda_identity and a != b:
            raise UsageError(
                f"train: lambda_identity = {self.lambda_identity:g}: no generator can be given images of its "
                f"own target, since {in_words(kinds)}: set lambda_identity = 0."
            )
        if self.evaluate_every:
            check_features_of(kinds, self.evaluate_features, self.evaluate_weights, prefix="evaluate_")

    def crop(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what the networks see of images of height×width."""
        return (self.crop_size, self.crop_width or self.crop_size) if self.crop_size else (height, width)

    def needs_vgg(self) -> bool:
        """Whether networks start with, or see through, the `weights` of VGG-16."""
        return self.generator == "vgg_unet" or self.discriminator == "perceptual"

    def augmentations(self) -> tuple[str, ...]:
        """What `diffaugment` names, in its order."""
        return tuple(name.strip() for name in self.diffaugment.split(",") if name.strip())

    def reference_files(self) -> dict[Literal["AtoB", "BtoA"], str]:
        """By direction, where `init` is files of the reference implementation, 'AtoB.pth,BtoA.pth', of which
        either may be left out; empty where it is a model.
        """
        parts = [part.strip() for part in reveal(self.init).split(",")]
        if len(parts) > 2 or not all(path_of(part).endswith((".pth", ".pt")) for part in parts if part):
            return {}
        both: tuple[Literal["AtoB", "BtoA"], ...] = ("AtoB", "BtoA")
        return {direction: part for direction, part in zip(both, parts, strict=False) if part}

    def from_checkpoint(self) -> bool:
        """Whether `init` is a checkpoint rather than a model."""
        return path_of(self.init).endswith(".safetensors")

    def with_generator(self, options: Mapping[str, Any], where: str) -> TrainConfig:
        """With the generator that a model's config.json describes, which `where` names in the message.

        Raises UsageError where the parameters describe another one, and not just the default.
        """
        names = {"generator": "name", **{name: name for name in ARCHITECTURE[1:]}}
        default = {name: default_of(one) for one in fields(self) if (name := one.name) in names}
        theirs = {name: options.get(names[name], default[name]) for name in names}
        taken = replace(self, **theirs)
        ours, wanted = self.generator_options(), taken.generator_options()
        if ours == wanted:
            return self
        if any(getattr(self, name) != default[name] for name in names):
            apart = [f"{name} = {wanted[name]}" for name in wanted if ours.get(name) != wanted[name]]
            raise UsageError(
                f"train: init = {where} has a generator that differs from these parameters "
                f"({', '.join(apart)}): set them to these values, or "
                f"leave out {', '.join(ARCHITECTURE)} to take what the model has."
            )
        return taken

    def with_networks(self, networks: Mapping[str, Mapping[str, Any]], where: str) -> TrainConfig:
        """As `with_generator`, of a checkpoint; raises UsageError for other discriminators too."""
        taken = self.with_generator(networks["generator"], where)
        ours, theirs = taken.discriminator_options(), networks["discriminator"]
        if apart := [
            f"{name} {theirs.get(name)}, not {ours[name]}" for name in ours if ours[name] != theirs.get(name)
        ]:
            raise UsageError(
                f"train: init = {where} has discriminators that differ from these parameters "
                f"({'; '.join(apart)}): set the discriminator's parameters to these values, or name a model, "
                "whose generators alone continue."
            )
        return taken

    def networks(self) -> dict[str, dict[str, Any]]:
        """Name and arguments of generator and discriminator, as a checkpoint keeps them."""
        return {"generator": self.generator_options(), "discriminator": self.discriminator_options()}

    def generator_options(self) -> dict[str, Any]:
        """Name and arguments of the generator, as in a model's config.json."""
        options: dict[str, Any] = {"name": self.generator, "norm": self.norm}
        if self.generator == "resnet":
            options |= {"blocks": self.blocks, "width": self.width, "upsample": self.upsample}
        elif self.generator == "unet":
            options |= {"depth": self.depth, "width": self.width}
        return options

    def discriminator_options(self) -> dict[str, Any]:
        """Name and arguments of the discriminator."""
        norm = self.norm if self.discriminator_norm == "same" else self.discriminator_norm
        options: dict[str, Any] = {"name": self.discriminator, "norm": norm}
        options["width"] = self.discriminator_width
        if self.discriminator != "strided":
            options["layers"] = self.discriminator_layers
        return options


def _require(holds: bool, name: str, value: object, condition: str) -> None:
    if not holds:
        raise UsageError(f"train: {name} = {value} {condition}.")


def _check_augmentations(given: str, names: tuple[str, ...]) -> None:
    if wrong := [name for name in names if name not in DIFFAUGMENT]:
        raise UsageError(
            f"train: diffaugment = {given[:60]}: '{wrong[0][:40]}' is not one of {', '.join(DIFFAUGMENT)}, "
            "which are joined by commas."
        )
    if len(set(names)) < len(names):
        raise UsageError(f"train: diffaugment = {given[:60]} names one of them twice.")
