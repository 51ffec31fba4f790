"""Images per second of a training update: ours against the plain loop that others write.

    python benchmarks/train_step.py                      128² on a CPU, 256² on a GPU
    python benchmarks/train_step.py --compile --case 'resnet batch 1'

The plain loop: eager float32, NCHW, one pass a network and purpose, PIL decoding and resizing of PNG files in
the loop, a buffer of translations on the host, Adam as torch gives it, `.item()` of every loss in every step.
Same networks, same machine, same run, in turns; medians. Writes benchmarks/results/train_step.json.
"""

from __future__ import annotations

import argparse
import io
import itertools
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd import backward
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.record import RESULTS, record
from cyclegan.cli.params import config_from
from cyclegan.data.layout.files import SUBSETS
from cyclegan.data.prepared import Manifest, Prepared
from cyclegan.networks import build_discriminator, build_generator
from cyclegan.runtime.cpu import resolve_threads
from cyclegan.runtime.device import resolve_device, resolve_precision
from cyclegan.runtime.distributed import Processes
from cyclegan.training.build import initial_state
from cyclegan.training.config import TrainConfig
from cyclegan.training.setup import Setup, sampling_of
from cyclegan.training.train import fastest_update, training_images
from cyclegan.training.updates.image_pool import ImagePool
from cyclegan.training.updates.schedule import Schedule
from cyclegan.training.updates.update import Networks, Update

LR, BETAS, LAMBDA_CYCLE, LAMBDA_IDENTITY, SLOTS = 2e-4, (0.5, 0.999), 10.0, 5.0, 50
COLUMNS = {
    "images_per_second": "images/s",
    "ratio": "ratio",
    "cpu_seconds": "CPU s",
    "cpu_ratio": "ratio",
    "share_of_peak": "of peak",
    "gigabytes": "GB",
}
CASES = (("resnet", "patchgan", 1), ("resnet", "patchgan", 4), ("vgg_unet", "strided", 4))


def networks(generator: str, discriminator: str) -> Networks:
    torch.manual_seed(0)
    pair = [build_generator(generator) for _ in "GF"]
    return Networks(*pair, *(build_discriminator(discriminator) for _ in "AB"))


class Plain:
    """The loop that others write."""

    def __init__(self, n: Networks, files: list[bytes], batch: int, size: int, device: torch.device) -> None:
        self.n, self.files, self.batch, self.size, self.device = n.to(device), files, batch, size, device
        self.g = torch.optim.Adam(n.generator_parameters(), lr=LR, betas=BETAS)
        self.d = torch.optim.Adam(n.discriminator_parameters(), lr=LR, betas=BETAS)
        self.pools: tuple[list[Tensor], list[Tensor]] = ([], [])
        self.square, self.absolute = nn.MSELoss(), nn.L1Loss()

    def images(self) -> Tensor:
        batch = []
        for _ in range(self.batch):
            image = Image.open(io.BytesIO(random.choice(self.files))).convert("RGB")
            large = self.size * 286 // 256
            image = image.resize((large, large), Image.Resampling.BICUBIC)
            left, top = random.randint(0, large - self.size), random.randint(0, large - self.size)
            image = image.crop((left, top, left + self.size, top + self.size))
            pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 127.5 - 1
            batch.append(pixels.flip(2) if random.random() < 0.5 else pixels)
        return torch.stack(batch).to(self.device)

    def pooled(self, fakes: Tensor, pool: list[Tensor]) -> Tensor:
        shown = []
        for fake in fakes.detach().cpu():
            if len(pool) < SLOTS:
                pool.append(fake)
                shown.append(fake)
            elif random.random() < 0.5:
                slot = random.randrange(SLOTS)
                shown.append(pool[slot].clone())
                pool[slot] = fake
            else:
                shown.append(fake)
        return torch.stack(shown).to(self.device)

    def gan(self, score: Tensor, target: float) -> Tensor:
        loss: Tensor = self.square(score, torch.full_like(score, target))
        return loss

    def __call__(self) -> None:
        a, b = self.images(), self.images()
        G, F, D_A, D_B = self.n.AtoB, self.n.BtoA, self.n.D_A, self.n.D_B
        fake_b, fake_a = G(a), F(b)
        cycled_a, cycled_b = F(fake_b), G(fake_a)
        for p in self.n.discriminator_parameters():
            p.requires_grad = False
        self.g.zero_grad()
        terms = [self.gan(D_B(fake_b), 1.0), self.gan(D_A(fake_a), 1.0)]
        terms += [self.absolute(cycled_a, a) * LAMBDA_CYCLE, self.absolute(cycled_b, b) * LAMBDA_CYCLE]
        terms += [self.absolute(F(a), a) * LAMBDA_IDENTITY, self.absolute(G(b), b) * LAMBDA_IDENTITY]
        backward(torch.stack(terms).sum())
        self.g.step()
        for p in self.n.discriminator_parameters():
            p.requires_grad = True
        self.d.zero_grad()
        for D, real, fake, pool in ((D_A, a, fake_a, self.pools[0]), (D_B, b, fake_b, self.pools[1])):
            loss = (self.gan(D(real), 1.0) + self.gan(D(self.pooled(fake, pool)), 0.0)) * 0.5
            backward(loss)
            terms.append(loss)
        self.d.step()
        [term.item() for term in terms]


class Ours:
    """The update as `train` sets it up for a configuration, on batches drawn as in training."""

    def __init__(self, images: Tensor, config: TrainConfig, device: torch.device) -> None:
        count, height, width, _ = images.shape
        me = Processes()
        with tempfile.TemporaryDirectory() as name:
            for domain in SUBSETS:
                np.save(Path(name) / f"{domain}.npy", images.numpy())
            manifest = Manifest(
                version="",
                paired=False,
                height=height,
                width=width,
                domains={domain: {"count": count, "names": []} for domain in SUBSETS},
            )
            data = Prepared(Path(name), manifest, "random")
            self.setup = Setup(
                config,
                data,
                device,
                resolve_precision(config.precision, device),
                torch.get_num_threads(),
                me,
                sampling_of(config, data, me),
                Schedule(config.epochs, config.decay_epochs),
            )
            self.a, self.b = (training_images(self.setup, end) for end in "AB")
        self.update = fastest_update(self.setup, initial_state(self.setup))
        self.plan = self.plans()

    def plans(self) -> Iterator[tuple[Tensor, ...]]:
        """What each update is to do, an epoch at a time on the device."""
        device = self.setup.device
        for epoch in itertools.count():
            plan = self.setup.sampling.plan(epoch)
            rows = (plan.a.to(self.a.images.device), plan.b.to(self.b.images.device))
            chances = (plan.chance_a.to(device), plan.chance_b.to(device)) if plan.chance_a.numel() else ()
            yield from zip(*rows, plan.slots_a.to(device), plan.slots_b.to(device), *chances, strict=True)

    def __call__(self) -> None:
        rows_a, rows_b, *others = next(self.plan)
        self.update(self.a.batch(rows_a), self.b.batch(rows_b), *others)


def seconds(step: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, float]:
    """Wall time of one step, waiting for the device; its CPU time, which other processes hardly change."""
    synchronise: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronise()
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        step()
    synchronise()
    return (time.perf_counter() - start) / repeats, (time.process_time() - cpu) / repeats


def matrix_peak(device: torch.device, precision: torch.dtype) -> float:
    """TFLOP/s of a large matrix product or 3×3 convolution, whichever is faster, for all threads together."""
    side = 8192 if device.type == "cuda" else 2048
    x = torch.randn(side, side, device=device, dtype=precision)
    image = torch.randn(8, 256, side // 32, side // 32, device=device, dtype=precision)
    image = image.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(256, 256, 3, 3, device=device, dtype=precision)
    # On a CPU that others use as well, the CPU time tells more than the wall time.
    kind, cores = (0, 1) if device.type == "cuda" else (1, torch.get_num_threads())
    work = {
        partial(torch.matmul, x, x): 2 * side**3,
        partial(nn.functional.conv2d, image, kernel): 2 * 9 * 256 * 256 * 8 * (side // 32 - 2) ** 2,
    }
    with torch.no_grad():
        return max(
            count / min(seconds(step, device, 1)[kind] for _ in range(6)) * cores / 1e12
            for step, count in work.items()
        )


def flops(generator: str, discriminator: str, batch: int, size: int) -> float:
    """TFLOP of one update."""
    with torch.device("meta"):
        n = networks(generator, discriminator)
        empty = ImagePool(batch, 0, size, size, torch.device("meta"))
        opt_G = torch.optim.SGD(n.generator_parameters())
        opt_D = torch.optim.SGD(n.discriminator_parameters())
        update = Update(n, opt_G, opt_D, empty, empty, lambda_identity=LAMBDA_IDENTITY)
        image, rows = torch.empty(batch, 3, size, size), torch.empty(batch, 3, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            update(image, image, rows, rows)
    return int(counter.get_total_flops()) / 1e12


def png_files(images: Tensor) -> list[bytes]:
    files = []
    for pixels in images.numpy():
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    return files


def kinds(device: torch.device, *, compiling: bool) -> list[str]:
    """What is compared: the loop and the arithmetic of its networks."""
    fast = ["bf16"] if resolve_precision("auto", device) is torch.bfloat16 else []
    ours = [f"ours {precision}" for precision in ("fp32", *fast)]
    return ["plain fp32", *ours, *(f"{name} compiled" for name in ours if compiling)]


def step_of(kind: str, case: tuple[str, str, int], size: int, device: torch.device) -> Callable[[], None]:
    """A loop of one of the `kinds`, on pictures and networks of its own, the same for each."""
    generator, discriminator, batch = case
    chance = np.random.default_rng(0)
    coarse = chance.integers(0, 256, (20, (size + 8) // 8, (size + 8) // 8, 3), dtype=np.uint8)
    images = torch.from_numpy(coarse.repeat(8, axis=1).repeat(8, axis=2))
    if kind.startswith("plain"):
        return Plain(networks(generator, discriminator), png_files(images), batch, size, device)
    config = config_from(
        TrainConfig,
        {
            "generator": generator,
            "discriminator": discriminator,
            "batch_size": batch,
            "crop_size": size,
            "lambda_cycle": LAMBDA_CYCLE,
            "lambda_identity": LAMBDA_IDENTITY,
            "pool_size": SLOTS,
            "lr": LR,
            "precision": "bf16" if "bf16" in kind else "fp32",
            # `auto` compiles nothing in so short a run, but records a graph on a GPU.
            "compile": "on" if kind.endswith("compiled") else "auto",
            "epochs": 1,
            "decay_epochs": 0,
        },
        "train",
    )
    return Ours(images, config, device)


def peak_gigabytes(kind: str, case: tuple[str, str, int], size: int, device: torch.device) -> float:
    """What a few updates take at most, beyond torch itself; to be called in a process of its own."""
    before = resident_gigabytes("VmRSS")
    step = step_of(kind, case, size, device)
    seconds(step, device, 5 if device.type == "cuda" else 3)
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved() / 1e9
    return resident_gigabytes("VmHWM") - before


def resident_gigabytes(name: str) -> float:
    """Memory of this process: VmRSS now, VmHWM at most. (`ru_maxrss` would begin with the parent's.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e9


def measure(
    case: tuple[str, str, int],
    size: int,
    rounds: int,
    repeats: int,
    device: torch.device,
    peaks: dict[str, float],
    *,
    compiling: bool,
) -> dict[str, Any]:
    generator, discriminator, batch = case
    names = kinds(device, compiling=compiling)
    alone = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    with alone:
        gigabytes = {name: alone.submit(peak_gigabytes, name, case, size, device).result() for name in names}
    steps = {name: step_of(name, case, size, device) for name in names}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for step in steps.values():
        seconds(step, device, 5 if device.type == "cuda" else 1)  # compiles, records, makes optimiser states
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, device, repeats))
    work = flops(generator, discriminator, batch, size)
    found: dict[str, Any] = {"case": f"{generator} batch {batch} {size}²", "tflop": round(work, 3)}
    for name, values in times.items():
        median = statistics.median(wall for wall, _ in values)
        cpu_seconds = statistics.median(cpu for _, cpu in values)
        pairs = list(zip(times["plain fp32"], values, strict=True))
        # On a CPU the time that was computed, as for the peak: others may use the machine as well.
        busy = median if device.type == "cuda" else cpu_seconds / torch.get_num_threads()
        found[name] = {
            "images_per_second": batch / median,
            "seconds": median,
            "cpu_seconds": cpu_seconds,
            "ratio": statistics.median(plain[0] / own[0] for plain, own in pairs),
            "cpu_ratio": statistics.median(plain[1] / own[1] for plain, own in pairs),
            "share_of_peak": work / busy / peaks["bfloat16" if "bf16" in name else "float32"],
            "gigabytes": gigabytes[name],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--case", default="", help="only cases whose name has this in it, such as 'resnet batch 1'"
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="compiled networks too (default: on GPUs)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "train_step.json", help="results as JSON")
    options = parser.parse_args()
    device = resolve_device(options.device)
    threads = resolve_threads(0)
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    size = options.size or (256 if device.type == "cuda" else 128)
    repeats = 20 if device.type == "cuda" else 1
    compiling = device.type == "cuda" if options.compile is None else options.compile

    peaks = {str(p).removeprefix("torch."): matrix_peak(device, p) for p in (torch.float32, torch.bfloat16)}
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    result: dict[str, Any] = {
        "size": size,
        "threads": threads,
        "matrix_tflop_per_second": peaks,
        "cases": [],
    }
    print(f"{machine}, {threads} threads, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    print("matrix peak", *(f"{name} {value:.3f} TFLOP/s" for name, value in peaks.items()))
    print(f"{'':<44}" + "".join(f"{heading:>10}" for heading in COLUMNS.values()))
    for case in CASES:
        if options.case not in f"{case[0]} batch {case[2]}":
            continue
        found = measure(case, size, options.rounds, repeats, device, peaks, compiling=compiling)
        result["cases"].append(found)
        for name, values in found.items():
            if isinstance(values, dict):
                columns = (values[column] for column in COLUMNS)
                numbers = "".join(f"{number:>10.3g}" for number in columns)
                print(f"{found['case']:<24}{name:<20}{numbers}")
    record(options.out, result)


if __name__ == "__main__":
    main()
