"""From stored images to augmented batches: packed arrays against decode, resize, crop, flip.

    python benchmarks/data_path.py --raw FOLDER [--device cuda] [--load-size 286] [--crop-size 256]

FOLDER holds trainA and trainB. Both paths give float32 batches in [-1, 1] on the device, of both domains. The
candidates take turns in one process; medians of images/s and ratios to the packed arrays go into a table and
into benchmarks/results/data_path.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.record import RESULTS, record
from cyclegan.data.config import PreprocessConfig
from cyclegan.data.layout.files import is_image, list_files
from cyclegan.data.packed import PackedImages, Sampling
from cyclegan.data.prepared import Prepared
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.runtime.cpu import available_cores
from cyclegan.runtime.device import memory_format

DRAIN = 1.0  # seconds in which the last candidate's workers fill their queues and fall silent


class Usual(Dataset[torch.Tensor]):
    """What most projects do for every image of every epoch."""

    def __init__(self, folder: Path, load_size: int, crop_size: int) -> None:
        self.files = [folder / name for name in list_files(folder) if is_image(name)]
        self.transform = transforms.Compose(
            [
                transforms.Resize((load_size, load_size), transforms.InterpolationMode.BICUBIC),
                transforms.RandomCrop(crop_size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.5,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as image:
            pixels: torch.Tensor = self.transform(image.convert("RGB"))
        return pixels


def usual_batches(
    raw: Path, args: argparse.Namespace, batch_size: int, workers: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    loaders = [
        DataLoader(
            Usual(raw / domain, args.load_size, args.crop_size),
            batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            drop_last=True,
        )
        for domain in ("trainA", "trainB")
    ]
    while True:
        for a, b in zip(*loaders, strict=False):
            yield a.to(device, non_blocking=True), b.to(device, non_blocking=True)


def packed_batches(
    prepared: Path, args: argparse.Namespace, batch_size: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    data, layout = Prepared.open(prepared), memory_format(device, compiled=False)
    a, b = (
        PackedImages(data.array(name), device, crop_size=args.crop_size, memory_format=layout)
        for name in ("trainA", "trainB")
    )
    sampling = Sampling(
        count_a=len(a),
        count_b=len(b),
        image_height=args.load_size,
        image_width=args.load_size,
        batch_size=batch_size,
        crop_size=args.crop_size,
        flip=True,
        epoch_size="larger",
        seed=0,
        lane_slots=0,
    )
    epoch = 0
    while True:
        plan = sampling.plan(epoch)
        rows_a, rows_b = plan.a.to(a.images.device), plan.b.to(b.images.device)
        for step in range(plan.steps):
            yield a.batch(rows_a[step]), b.batch(rows_b[step])
        epoch += 1


def rate(
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]], seconds: float, device: torch.device
) -> tuple[float, float]:
    """Images a second, both domains counted, and milliseconds of this process's CPU time for each."""
    images = 0
    time.sleep(DRAIN)
    start, start_cpu = time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - start) < seconds:
        a, b = next(batches)
        images += len(a) + len(b)
    if device.type == "cuda":
        torch.cuda.synchronize()
        took = time.perf_counter() - start
    return images / took, 1000 * (time.process_time() - start_cpu) / images


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--load-size", type=int, default=286)
    parser.add_argument("--crop-size", type=int, default=256)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--out", type=Path, default=RESULTS / "data_path.json", help="results as JSON")
    args = parser.parse_args()
    device, cores = torch.device(args.device), available_cores()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        prepared = Path(temporary) / "prepared"
        preprocess(args.raw, prepared, PreprocessConfig(load_size=args.load_size))
        for batch_size in args.batch_sizes:
            candidates: dict[str, Callable[[], Iterator[tuple[torch.Tensor, torch.Tensor]]]] = {
                "packed": lambda size=batch_size: packed_batches(prepared, args, size, device),  # type: ignore[misc]
            }
            for workers in sorted({0, cores}):
                candidates[f"usual, {workers} workers"] = (
                    lambda size=batch_size, n=workers: usual_batches(args.raw, args, size, n, device)  # type: ignore[misc]
                )
            running = {name: make() for name, make in candidates.items()}
            for batches in running.values():
                next(batches)  # workers started, caches warm
            rates: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
            for _ in range(args.rounds):
                for name, batches in running.items():
                    rates[name].append(rate(batches, args.seconds, device))
            packed = statistics.median(speed for speed, _ in rates["packed"])
            packed_cpu = statistics.median(cost for _, cost in rates["packed"])
            for name, values in rates.items():
                median = statistics.median(speed for speed, _ in values)
                cpu = statistics.median(cost for _, cost in values)
                rows.append(
                    {
                        "batch_size": batch_size,
                        "path": name,
                        "images_per_second": round(median, 1),
                        "packed_is_faster_by": round(packed / median, 1),
                        # the workers' own time is not in it
                        "cpu_ms_per_image": round(cpu, 3) if name in {"packed", "usual, 0 workers"} else None,
                        "packed_takes_less_cpu_by": round(cpu / packed_cpu, 1)
                        if name in {"packed", "usual, 0 workers"}
                        else None,
                    }
                )
    titles = f"{'images/s':>10}{'packed is … times as fast':>28}{'CPU ms/image':>14}{'times less CPU':>16}"
    print(f"{'batch':>5}  {'path':<18}{titles}")
    for row in rows:
        cost, less = row["cpu_ms_per_image"] or "-", row["packed_takes_less_cpu_by"] or "-"
        numbers = f"{row['images_per_second']:>10}{row['packed_is_faster_by']:>28}{cost:>14}{less:>16}"
        print(f"{row['batch_size']:>5}  {row['path']:<18}{numbers}")
    settings = {
        "load_size": args.load_size,
        "crop_size": args.crop_size,
        "device": str(device),
    }
    record(args.out, {**settings, "threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
