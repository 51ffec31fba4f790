"""What a training configuration means on given data and a given machine: networks, optimisers, sampling."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from cyclegan.data.packed import Sampling
from cyclegan.data.prepare import Manifest
from cyclegan.errors import UsageError
from cyclegan.model import library_versions
from cyclegan.networks import VggUnet, build_discriminator, build_generator
from cyclegan.networks.recompute import Recomputable
from cyclegan.training.accelerate import compiles
from cyclegan.training.device import memory_format
from cyclegan.training.distributed import Processes
from cyclegan.training.fingerprint import decisive, fingerprint
from cyclegan.training.history import ImageBuffer, lane_slots
from cyclegan.training.memory import activation_bytes, available_bytes, parameter_bytes
from cyclegan.training.pretrained import load_encoder
from cyclegan.training.schedule import Schedule
from cyclegan.training.state import Average, State
from cyclegan.training.step import Networks, Update
from cyclegan.uri import data_name

if TYPE_CHECKING:
    from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """What stays the same from the first update of a run to its last."""

    config: TrainConfig
    prepared: Path
    manifest: Manifest
    device: torch.device
    precision: torch.dtype
    """Of the networks' arithmetic."""
    threads: int
    me: Processes
    sampling: Sampling
    schedule: Schedule

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
        """Height and width of the images that the networks see."""
        return self.sampling.height, self.sampling.width

    @property
    def batch(self) -> int:
        """Images of each domain that this process computes in an update."""
        return self.config.batch_size // self.me.world

    @cached_property
    def compiled(self) -> bool:
        """Whether the networks are compiled; raises UsageError where they shall be and can't."""
        return compiles(self.config.compile, self.device, self.total)

    @property
    def memory_format(self) -> torch.memory_format:
        """How images and weights lie in memory."""
        return memory_format(self.device, compiled=self.compiled)

    @property
    def captured(self) -> bool:
        """Whether updates are recorded in a CUDA graph."""
        return self.device.type == "cuda" and self.me.world == 1 and self.config.compile != "off"

    @property
    def fingerprint(self) -> str:
        """The name of the run's checkpoint folder."""
        config, manifest = asdict(self.config), asdict(self.manifest)
        return fingerprint(decisive(config, manifest, str(self.precision)), self.schedule)

    @property
    def name(self) -> str:
        """What people call the run."""
        generator, seed = self.config.generator, self.config.seed
        height, width = self.size
        return f"{generator} {data_name(self.manifest.uri)} {height}×{width} seed {seed}"


def sampling_of(config: TrainConfig, manifest: Manifest, me: Processes) -> Sampling:
    """How batches are drawn; raises UsageError where the parameters don't fit the data."""
    if config.batch_size % (me.world * config.accumulate):
        raise UsageError(
            f"batch_size = {config.batch_size} can't be divided among {me.world} processes, each of which "
            f"computes it in {config.accumulate} parts."
        )
    sampling = Sampling(
        count_a=manifest.domains["trainA"]["count"],
        count_b=manifest.domains["trainB"]["count"],
        image_height=manifest.height,
        image_width=manifest.width,
        batch_size=config.batch_size,
        crop_size=config.crop_size,
        flip=config.flip,
        epoch_size=config.epoch_size,
        seed=config.seed,
        lane_slots=lane_slots(config.buffer_size, config.batch_size),
    )
    with torch.device("meta"):
        multiple = cast(int, build_generator(**config.generator_options()).multiple)
    if sampling.height % multiple or sampling.width % multiple:
        raise UsageError(
            f"{config.generator} takes images whose sides are multiples of {multiple}, not "
            f"{sampling.height}×{sampling.width}: choose crop_size, or the load_size of preprocess, to fit."
        )
    return sampling


def build_networks(config: TrainConfig) -> Networks:
    """The four networks, as torch's present random state makes them."""
    networks = Networks(
        AtoB=build_generator(**config.generator_options()),
        BtoA=build_generator(**config.generator_options()),
        D_A=build_discriminator(**config.discriminator_options()),
        D_B=build_discriminator(**config.discriminator_options()),
    )
    for generator in (networks.AtoB, networks.BtoA):
        assert isinstance(generator, Recomputable)
        generator.recompute = config.recompute
    return networks


def initial_state(setup: Setup) -> State:
    """Networks as the seed makes them, their optimisers, empty buffers."""
    config, device, capturable = setup.config, setup.device, setup.captured
    torch.manual_seed(config.seed)
    networks = build_networks(config)
    networks.to(memory_format=setup.memory_format)
    networks.to(device)

    def adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Adam:
        lr = torch.tensor(config.lr, device=device) if capturable else config.lr
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(parameters, lr, betas, fused=device.type != "mps", capturable=capturable)

    def buffer() -> ImageBuffer:
        return ImageBuffer(setup.batch, setup.sampling.lane_slots, *setup.size, device)

    return State(
        networks=networks,
        generators=adam(networks.generators()),
        discriminators=adam(networks.discriminators()),
        buffer_a=buffer(),
        buffer_b=buffer(),
        average=Average(networks, config.ema) if config.ema else None,
    )


def build_update(config: TrainConfig, state: State, networks: Networks, precision: torch.dtype) -> Update:
    """The update that changes `state`, computed by its networks or by their compiled form."""
    return Update(
        networks,
        state.generators,
        state.discriminators,
        state.buffer_a,
        state.buffer_b,
        lambda_cycle=config.lambda_cycle,
        lambda_identity=config.lambda_identity,
        objective=config.objective,
        order=config.order,
        discriminator_updates=config.discriminator_updates,
        accumulate=config.accumulate,
        precision=precision,
    )


def announce_memory(setup: Setup) -> None:
    """Log an estimate of the memory that training takes, and what to do if that is more than there is."""
    with torch.device("meta"):
        networks = build_networks(setup.config)
    unused = torch.optim.SGD(networks.parameters())
    empty = ImageBuffer(0, 0, 1, 1, torch.device("meta"))
    state = State(networks, unused, unused, empty, empty, None)
    update = build_update(setup.config, state, networks, torch.float32)
    activations = activation_bytes(update, setup.batch, *setup.size)
    if setup.precision is torch.bfloat16:
        activations //= 2
    total = activations + parameter_bytes(networks)
    logger.info("Training takes about %.1f GB, %.1f of it activations.", total / 1e9, activations / 1e9)
    free = available_bytes(setup.device)
    if free is not None and total > 0.9 * free:
        logger.warning(
            "Only %.1f GB are free: set recompute, accumulate over smaller parts, or crop smaller.",
            free / 1e9,
        )


def load_encoders(networks: Networks, config: TrainConfig) -> None:
    generators = [g for g in (networks.AtoB, networks.BtoA) if isinstance(g, VggUnet)]
    if generators:
        load_encoder(generators, config.weights, partial=config.weights_partial)


def describe(setup: Setup, *, epochs: int, git_commit: str | None, run_id: str | None) -> dict[str, Any]:
    """The config.json of a model that was trained for so many epochs."""
    config, manifest = setup.config, setup.manifest
    return {
        "generator": config.generator_options(),
        "image_size": min(setup.size),
        "data": {"uri": manifest.uri, "version": manifest.version, "paired": manifest.paired},
        "train": asdict(config),
        "seed": config.seed,
        "versions": library_versions(),
        "epochs": epochs,
        "git_commit": git_commit,
        "mlflow_run_id": run_id,
    }
