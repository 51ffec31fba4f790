"""A training configuration applied to given data and a given machine: networks, optimisers, sampling."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from cyclegan.data.packed import Sampling
from cyclegan.data.prepared import Prepared
from cyclegan.errors import UsageError
from cyclegan.io.uri import redact
from cyclegan.model import ModelConfig, library_versions
from cyclegan.model_config import pixels_section
from cyclegan.networks import build_generator
from cyclegan.networks.discriminators.diffaugment import NUMBERS
from cyclegan.registry.config import dataset_name
from cyclegan.runtime.device import memory_format
from cyclegan.runtime.distributed import Processes
from cyclegan.training.checkpoints.fingerprint import decisive, fingerprint
from cyclegan.training.updates.compile import should_compile
from cyclegan.training.updates.image_pool import lane_slots
from cyclegan.training.updates.schedule import Schedule, in_epochs
from cyclegan.training.updates.update import VIEWS

if TYPE_CHECKING:
    from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """What stays the same from the first update of a run to its last."""

    config: TrainConfig
    data: Prepared
    device: torch.device
    precision: torch.dtype
    """Of the networks' arithmetic."""
    threads: int
    processes: Processes
    sampling: Sampling
    schedule: Schedule
    initial: str = ""
    """Digest of the generators that the run continues from, if there are any."""

    @property
    def steps(self) -> int:
        """Updates in an epoch."""
        return self.sampling.steps

    @property
    def total(self) -> int:
        """Updates in the whole run."""
        return self.schedule.epochs * self.steps

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that the networks are trained on."""
        return self.sampling.height, self.sampling.width

    @property
    def test_size(self) -> tuple[int, int]:
        """Height and width of whole test images: as prepared, or `image_size` on the shorter side."""
        height, width = self.data.height, self.data.width
        scale = self.config.image_size / min(height, width) if self.config.image_size else 1
        return round(height * scale), round(width * scale)

    @property
    def batch(self) -> int:
        """Images of each domain that this process computes in an update."""
        return self.config.batch_size // self.processes.world_size

    @cached_property
    def compiled(self) -> bool:
        """Whether the networks are compiled; raises UsageError where they must be and can't."""
        return should_compile(self.config.compile, self.device, self.total)

    @property
    def memory_format(self) -> torch.memory_format:
        """How images and weights are laid out in memory."""
        return memory_format(self.device, compiled=self.compiled)

    @property
    def captured(self) -> bool:
        """Whether updates are recorded in a CUDA graph."""
        return self.device.type == "cuda" and self.processes.world_size == 1 and self.config.compile != "off"

    @property
    def fingerprint(self) -> str:
        """The name of the run's checkpoint folder."""
        config, manifest = asdict(self.config), asdict(self.data.manifest)
        config["init"] = self.initial  # the same weights may come from several addresses, or others from one
        return fingerprint(decisive(config, manifest, str(self.precision)), self.schedule)

    @property
    def name(self) -> str:
        """What people call the run, in ASCII: resnet city 64x64, 40 epochs, seed 0."""
        config, (height, width) = self.config, self.size
        data = dataset_name(self.data.uri, self.data.names)
        long = in_epochs(self.schedule.epochs)
        return f"{config.generator} {data} {height}x{width}, {long}, seed {config.seed}"


def sampling_of(config: TrainConfig, data: Prepared, processes: Processes) -> Sampling:
    """How batches are drawn; raises UsageError where the parameters don't fit the data."""
    if config.batch_size % (processes.world_size * config.accumulation_steps):
        raise UsageError(
            f"batch_size = {config.batch_size} can't be divided among {processes.world_size} "
            f"processes, each of which computes it in {config.accumulation_steps} parts."
        )
    sampling = Sampling(
        count_a=data.count("trainA"),
        count_b=data.count("trainB"),
        image_height=data.height,
        image_width=data.width,
        batch_size=config.batch_size,
        crop_size=config.crop_size,
        crop_width=config.crop_width,
        flip=config.flip,
        epoch_size=config.epoch_size,
        seed=config.seed,
        lane_slots=lane_slots(config.pool_size, config.batch_size),
        chances=(VIEWS, NUMBERS) if config.augmentations() else (0,),
    )
    with torch.device("meta"):
        multiple = build_generator(**config.generator_options()).multiple
    if sampling.height % multiple or sampling.width % multiple:
        raise UsageError(
            f"{config.generator} takes images whose sides are multiples of {multiple}, not "
            f"{sampling.height}×{sampling.width}: choose crop_size, or the load_size of preprocess, to fit."
        )
    return sampling


def describe(
    setup: Setup, *, epochs: int, finished: bool, git_commit: str | None, run_id: str | None
) -> ModelConfig:
    """The config.json of a model that was trained for so many epochs, by a run that has `finished` or not."""
    config, data = setup.config, setup.data
    found: ModelConfig = {
        "generator": config.generator_options(),
        "image_size": list(setup.test_size),
        "data": {
            "uri": redact(data.uri),
            "names": data.names,
            "version": data.version,
            "paired": data.paired,
        },
        "train": asdict(config),
        "seed": config.seed,
        "versions": library_versions(),
        "epochs": epochs,
        "finished": finished,
        "git_commit": git_commit,
        "mlflow_run_id": run_id,
    }
    if pixels := pixels_section(data.kinds, data.manifest.config):
        found["pixels"] = pixels
    return found
