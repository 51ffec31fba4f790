"""Preprocess: images/s by number of threads, against a plain loop, and the memory that many images take.

    python benchmarks/preprocess.py --raw FOLDER [--load-size 286] [--many 10000]

FOLDER holds trainA trainB testA testB. The plain loop decodes, resizes and stacks everything in memory. Runs
take turns; medians, ratios and the machine's load go into a table and benchmarks/results/preprocess.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.record import RESULTS, record
from cyclegan.data.config import PreprocessConfig
from cyclegan.data.layout.files import SUBSETS, is_image, list_files
from cyclegan.data.preprocess.preprocess import preprocess
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
    """What this process took: on a shared machine steadier than the clock."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


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
    for workers in sorted({1, available_cores()}):
        config = PreprocessConfig(load_size=args.load_size, workers=workers)
        candidates[f"preprocess, {workers} thread(s)"] = lambda out, config=config: preprocess(  # type: ignore[misc]
            args.raw, out, config
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
    plain = statistics.median(wall["plain loop in memory"])
    rows = [
        {
            "path": name,
            "images_per_second": round(count / statistics.median(wall[name]), 1),
            "times_the_plain_loop": round(plain / statistics.median(wall[name]), 2),
            "cpu_ms_per_image": round(1000 * statistics.median(cpu[name]) / count, 2),
        }
        for name in candidates
    ]
    print(f"{count} images to {args.load_size}x{args.load_size}; median of {args.rounds}")
    for row in rows:
        numbers = f"{row['images_per_second']:>9} images/s{row['times_the_plain_loop']:>8} x"
        print(f"{row['path']:<28}{numbers}{row['cpu_ms_per_image']:>9} ms of CPU an image")
    for number, peak in peaks.items():
        print(f"{number} images: " + ", ".join(f"{name} {value:.0f}" for name, value in peak.items()))
    settings = {"images": count, "load_size": args.load_size, "rounds": args.rounds}
    record(args.out, {**settings, "rows": rows, "memory": peaks})


if __name__ == "__main__":
    main()
