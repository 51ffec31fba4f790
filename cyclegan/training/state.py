"""Everything that changes during training, and its way into a checkpoint and back.

Random numbers are not in it: they follow from the seed and the epoch (see `cyclegan.data.packed`).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cyclegan.networks import Generator
from cyclegan.runtime.distributed import Processes, gathered
from cyclegan.training.checkpoints.record import Best, Progress
from cyclegan.training.updates.ema import EMA
from cyclegan.training.updates.image_pool import ImagePool
from cyclegan.training.updates.update import TERMS, Networks

logger = logging.getLogger(__name__)


@dataclass
class State:
    """The training run at the end of update number `step`."""

    networks: Networks
    opt_G: torch.optim.Optimizer
    opt_D: torch.optim.Optimizer
    pool_a: ImagePool
    pool_b: ImagePool
    ema: EMA | None
    progress: Progress = field(default_factory=Progress)
    pending: list[Tensor] = field(default_factory=list)
    """Losses of the updates since the last log line."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights of both generators when they scored best; empty without evaluations during training."""

    @property
    def step(self) -> int:
        """Updates done."""
        return self.progress.step

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, the image pools of all processes joined; every process must call it."""
        found = {f"networks.{name}": tensor for name, tensor in self.networks.state_dict().items()}
        if self.ema:
            found |= {f"ema.{name}": tensor for name, tensor in self.ema.state_dict().items()}
        for kind, optimiser in self._optimisers().items():
            for index, moments in optimiser.state_dict()["state"].items():
                found |= {f"{kind}.{index}.{name}": torch.as_tensor(m) for name, m in moments.items()}
        found["pool_a"] = gathered(self.pool_a.images)
        found["pool_b"] = gathered(self.pool_b.images)
        found |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        if self.pending:
            found["losses"] = torch.stack(self.pending)
        return found

    def load(self, tensors: dict[str, Tensor], progress: Progress, processes: Processes) -> None:
        """Take over the content of a checkpoint.

        Raises ValueError where that is of other networks or another kind of run; this state is spoilt then.
        """
        with _fitting():
            _check_record(progress)
            self._load(tensors, processes)
            if progress.step:
                _check_moments(self._optimisers())
        self.progress = progress

    def continue_from(self, tensors: dict[str, Tensor]) -> None:
        """Take over the networks and the optimisers' moments of another run's checkpoint, and nothing else.

        Averages are left to the caller. Raises ValueError as `load`.
        """
        with _fitting():
            self._load_networks(tensors)
            _check_moments(self._optimisers())

    def _load_networks(self, tensors: dict[str, Tensor]) -> None:
        if not all(tensor.is_floating_point() for tensor in tensors.values()):
            raise ValueError("it holds whole numbers where weights are real ones.")
        self.networks.load_state_dict(_below(tensors, "networks"))
        for kind, optimiser in self._optimisers().items():
            moments: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _below(tensors, kind).items():
                index, moment = name.split(".")
                moments.setdefault(int(index), {})[moment] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
            _lay_out_as_weights(optimiser)

    def _load(self, tensors: dict[str, Tensor], processes: Processes) -> None:
        self._load_networks(tensors)
        if self.ema:
            self.ema.load_state_dict(_below(tensors, "ema"))
        for name, pool in (("pool_a", self.pool_a), ("pool_b", self.pool_b)):
            images = tensors[name].chunk(processes.world_size)[processes.rank]
            if images.shape != pool.images.shape:
                raise ValueError(f"its {name} has the shape {tuple(images.shape)}.")
            pool.images.copy_(images)
        best = _below(tensors, "best")
        wanted = {name: tensor.shape for name, tensor in nn.ModuleList(self.exported()).state_dict().items()}
        if best and {name: tensor.shape for name, tensor in best.items()} != wanted:
            raise ValueError("its best weights are of other networks.")
        self.best = best
        pending = tensors.get("losses")
        if pending is not None and pending.shape[1:] != (len(TERMS),):
            raise ValueError(f"its losses have the shape {tuple(pending.shape)}.")
        self.pending = [] if pending is None else list(pending.to(self.pool_a.images.device))

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"opt_G": self.opt_G, "opt_D": self.opt_D}

    def exported(self) -> tuple[Generator, Generator]:
        """The generators AtoB and BtoA as they are now: the averages where there are any."""
        source = self.ema or self.networks
        return source.AtoB, source.BtoA

    def best_exported(self) -> tuple[Generator, Generator]:
        """Copies of the generators with the best score so far; the present ones where there is none."""
        if not self.best:
            return self.exported()
        pair = copy.deepcopy(self.exported())
        nn.ModuleList(pair).load_state_dict(self.best)
        return pair

    def score_by(self, metric: str) -> None:
        """Forget scores of another metric, from before the run was resumed with other features."""
        progress = self.progress
        if progress.best and progress.best.metric not in ("", metric):
            logger.warning("The best %s so far does not compare with %s.", progress.best.metric, metric)
            progress.best, progress.worse = None, 0

    def note_score(self, score: float, epoch: int, metric: str) -> None:
        """Keep the weights of the best score (lowest) so far, and count those after it."""
        progress = self.progress
        if progress.best is None or score < progress.best.score:
            progress.best = Best(score, epoch, metric)
            pair = nn.ModuleList(self.exported())
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in pair.state_dict().items()}
            progress.worse = 0
        else:
            progress.worse += 1

    def advance(self) -> None:
        """Note that an update was done."""
        self.progress.step += 1
        if self.ema:
            self.ema.update(self.networks, self.step)

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of both optimisers; in place where it is a tensor of a captured update."""
        for optimiser in self._optimisers().values():
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(lr)
                else:
                    group["lr"] = lr


@contextmanager
def _fitting() -> Iterator[None]:
    """Turn what torch raises for tensors of other networks into a ValueError of one line."""
    try:
        yield
    except (KeyError, IndexError, RuntimeError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from None


def _check_record(progress: Progress) -> None:
    """Raise ValueError where the record is not of the losses that an update reports."""
    if progress.losses and tuple(progress.losses) != TERMS:
        raise ValueError("its losses have other names.")
    if any(len(row) != len(TERMS) + 2 for row in progress.curves):
        raise ValueError("its curves are of other losses.")
    if progress.step < 0 or progress.worse < 0 or progress.images_per_second < 0:
        raise ValueError("it counts backwards.")


def _check_moments(optimisers: Mapping[str, torch.optim.Optimizer]) -> None:
    """Raise ValueError where moments are missing or not as their weights, which no optimiser looks at."""
    for kind, optimiser in optimisers.items():
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        for weight in weights:
            if weight.dim() < 2 and weight not in optimiser.state:
                continue  # a bias that the normalisation after it removes again has no gradient
            shapes = {name: moment.shape for name, moment in optimiser.state.get(weight, {}).items()}
            if shapes != {"step": (), "exp_avg": weight.shape, "exp_avg_sq": weight.shape}:
                raise ValueError(f"it lacks moments of {kind}, or they are of other weights.")


def _lay_out_as_weights(optimiser: torch.optim.Optimizer) -> None:
    """Give moments the memory format of their weights, as fused Adam takes for granted.

    A checkpoint holds them contiguous. Other strides are an error on CUDA; a CPU mixes them up silently.
    """
    for weight, moments in optimiser.state.items():
        for name, moment in moments.items():
            if moment.shape == weight.shape:
                moments[name] = torch.empty_like(weight).copy_(moment)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = len(prefix) + 1
    return {name[start:]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
