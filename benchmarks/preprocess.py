"""Preprocess: images/s and CPU time by number of threads, and the memory that many images take.

    python benchmarks/preprocess.py --raw FOLDER [--load-size 286] [--many 10000]

FOLDER holds trainA trainB testA testB. It is measured against a plain loop that decodes, resizes and stacks
everything in memory, and against what preprocess did before simplejpeg and torch: Pillow alone, in processes,
whose start is left out. Runs take turns; medians, ratios and the machine's load go into a table and
benchmarks/results/preprocess.json. CPU times include the processes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.record import RESULTS, record
from cyclegan.data.config import PreprocessConfig
from cyclegan.data.decode import open_image, to_rgb
from cyclegan.data.duplicates import thumbnail
from cyclegan.data.layout.files import SUBSETS, is_image, list_files
from cyclegan.data.preprocess.packing import HEADER, Raster, create
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.data.version import file_md5s
from cyclegan.runtime.cpu import available_cores

# run in a process of its own, so that its peak is its own
PEAK = """
import json, sys
from pathlib import Path
from cyclegan.data.config import PreprocessConfig
from cyclegan.data.preprocess.preprocess import preprocess
import torch, cyclegan.data.preprocess.packing, cyclegan.data.preprocess.workers

def peak():  # VmHWM and not ru_maxrss, which a process inherits from the one that started it
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

before = peak()
preprocess(Path(sys.argv[1]), Path(sys.argv[2]), PreprocessConfig(load_size=int(sys.argv[3]), workers=1))
print(json.dumps({"imports_mb": before, "peak_mb": peak()}))
"""


def cpu_seconds() -> float:
    """What this process and those that it waited for took: on a shared machine steadier than the clock."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def plain_loop(raw: Path, size: int) -> int:
    count = 0
    for domain in SUBSETS:
        rows = []
        for name in list_files(raw / domain):
            if is_image(name):
                with Image.open(raw / domain / name) as image:
                    small = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
                rows.append(np.asarray(small))
        count += len(np.stack(rows))
    return count


def pack_with_pillow(path: Path, npy: Path, row: int, size: int) -> tuple[bytes, bytes]:
    """One image as preprocess packed it before: Pillow decodes and resizes, every row is hashed."""
    image = to_rgb(open_image(path.read_bytes(), min_size=16))
    small = thumbnail(image).tobytes()
    raw = image.resize((size, size), Image.Resampling.BICUBIC).tobytes()
    with npy.open("r+b") as file:
        file.seek(HEADER + row * len(raw))
        file.write(raw)
    return hashlib.blake2b(raw, digest_size=16).digest(), small


def former(raw: Path, out: Path, size: int, workers: int) -> None:
    """Preprocess before simplejpeg and torch: versions, decoding, resizing, hashing and writing."""
    file_md5s(raw)
    out.mkdir()
    jobs = []
    for subset in SUBSETS:
        files = [raw / subset / name for name in list_files(raw / subset) if is_image(name)]
        create(out / f"{subset}.npy", len(files), Raster((size, size)))
        jobs += [(path, out / f"{subset}.npy", row, size) for row, path in enumerate(files)]
    if workers == 1:
        for job in jobs:
            pack_with_pillow(*job)
        return
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pool.starmap(pack_with_pillow, jobs, chunksize=16)
        pool.close()
        pool.join()  # so that their CPU time is counted


def many_images(raw: Path, target: Path, count: int) -> None:
    """A dataset of `count` images by linking those of `raw` under many names."""
    for domain in SUBSETS:
        (target / domain).mkdir(parents=True)
        files = [raw / domain / name for name in list_files(raw / domain)][:100]
        for i in range(count if domain == "trainA" else len(files)):
            (target / domain / f"{i}{files[i % len(files)].suffix}").symlink_to(
                files[i % len(files)].resolve()
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--load-size", type=int, default=286)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=RESULTS / "preprocess.json", help="results as JSON")
    args = parser.parse_args()
    candidates: dict[str, Callable[[Path], object]] = {
        "plain loop in memory": lambda out: plain_loop(args.raw, args.load_size)
    }
    counts = sorted({1, available_cores()})
    for workers in counts:
        config = PreprocessConfig(load_size=args.load_size, workers=workers)
        candidates[f"Pillow, {workers} process(es)"] = partial(
            lambda out, number: former(args.raw, out, args.load_size, number), number=workers
        )
        candidates[f"preprocess, {workers} thread(s)"] = partial(
            lambda out, config: preprocess(args.raw, out, config), config=config
        )
    wall: dict[str, list[float]] = {name: [] for name in candidates}
    cpu: dict[str, list[float]] = {name: [] for name in candidates}
    with tempfile.TemporaryDirectory() as temporary:
        count = plain_loop(args.raw, args.load_size)  # caches warm
        for _ in range(args.rounds):
            for name, run in candidates.items():
                out = Path(temporary) / "out"
                start, start_cpu = time.perf_counter(), cpu_seconds()
                run(out)
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(cpu_seconds() - start_cpu)
                shutil.rmtree(out, ignore_errors=True)
        peaks = {}
        for number in (args.many // 10, args.many):
            raw = Path(temporary) / f"many{number}"
            many_images(args.raw, raw, number)
            command = [sys.executable, "-c", PEAK, str(raw), str(raw) + ".out", str(args.load_size)]
            peaks[number] = json.loads(
                subprocess.run(command, capture_output=True, check=True, text=True).stdout
            )
            peaks[number]["arrays_mb"] = (Path(str(raw) + ".out") / "trainA.npy").stat().st_size / 1e6
            shutil.rmtree(str(raw) + ".out")
    alone = "Pillow, 1 process(es)"

    def times(measured: dict[str, list[float]], name: str, base: str) -> float:
        """By how much `name` is faster than `base`, as the median of the rounds in which both ran."""
        return round(statistics.median(b / a for a, b in zip(measured[name], measured[base], strict=True)), 2)

    rows = []
    for name in candidates:
        as_many = name.replace("preprocess", "Pillow").replace("thread", "process")
        rows.append(
            {
                "path": name,
                "images_per_second": round(count / statistics.median(wall[name]), 1),
                "times_the_plain_loop": times(wall, name, "plain loop in memory"),
                "times_pillow_in_1_process": times(wall, name, alone),
                "cpu_ms_per_image": round(1000 * statistics.median(cpu[name]) / count, 2),
                "cpu_times_pillow_in_as_many": times(cpu, name, as_many if as_many in cpu else alone),
            }
        )
    print(f"{count} images to {args.load_size}x{args.load_size}; median of {args.rounds}")
    print(f"{'':<28}{'images/s':>9}{'Pillow x1 = 1':>15}{'CPU ms/image':>14}{'Pillow, as many = 1':>21}")
    for row in rows:
        numbers = f"{row['images_per_second']:>9}{row['times_pillow_in_1_process']:>15}"
        costs = f"{row['cpu_ms_per_image']:>14}{row['cpu_times_pillow_in_as_many']:>21}"
        print(f"{row['path']:<28}{numbers}{costs}")
    for number, peak in peaks.items():
        print(f"{number} images: " + ", ".join(f"{name} {value:.0f}" for name, value in peak.items()))
    settings = {"images": count, "load_size": args.load_size, "rounds": args.rounds}
    record(args.out, {**settings, "rows": rows, "memory": peaks})


if __name__ == "__main__":
    main()
