"""Translation on a CPU, by engine and size: CPU seconds an image, peak memory, cold start, difference.

    OMP_NUM_THREADS=1 python benchmarks/translate.py [--model FOLDER] [--sizes 256 1100] [--rounds 5]
    OMP_NUM_THREADS=1 python benchmarks/translate.py --sizes 256 --rounds 20 \\
        --engines "ONNX Runtime fp32" "OpenVINO fp32" --out /tmp/two.json

Each engine runs in a process of its own. In every round all of them translate the same picture, one after
another and every second time in the opposite order, so that what else the machine does meets them alike;
medians over the rounds, and within each round how many times faster than the first engine named.
CPU seconds and not wall time, since they are steadier on a shared machine. `before` is torch in float32 on
tiles of 1024 pixels, whose overlap is whatever the picture's size makes it. Without --model a resnet of 9
blocks with random weights is measured, for which differences mean little. Cold start is `cyclegan translate`
of one picture of 256 pixels, in a new process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cyclegan.io.files import write_json
from cyclegan.runtime.cpu import has_bfloat16, resolve_threads

OUT = Path("benchmarks/results/translate.json")
BASE = "torch fp32"
ENGINES = {
    "before": ("torch", "fp32"),
    BASE: ("torch", "fp32"),
    "torch bf16": ("torch", "bf16"),
    "ONNX Runtime fp32": ("onnx", "fp32"),
    "OpenVINO fp32": ("openvino", "fp32"),
    "OpenVINO bf16": ("openvino", "bf16"),
}

WORKER = """
import json, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from cyclegan.inference.translator import load

def peak():  # VmHWM and not ru_maxrss, which a process inherits from the one that started it
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

def plain(translator, image, tile=1024, overlap=128):
    height, width = image.shape[:2]
    if max(height, width) <= tile:
        return translator.array(image)
    out = np.zeros(image.shape, np.uint8)
    step = tile - overlap
    tops, lefts = ([min(x, max(side - tile, 0)) for x in range(0, max(side - overlap, 1), step)]
                   for side in (height, width))
    for top in tops:
        for left in lefts:
            piece = image[top : top + tile, left : left + tile]
            out[top : top + tile, left : left + tile] = translator.array(piece, tile=0)
    return out

name, model, engine, precision = sys.argv[1:]
translator = load(model, engine=engine, precision=precision, device="cpu")
print(json.dumps({"engine": translator.engine.name, "loaded_mb": peak()}), flush=True)
for line in sys.stdin:
    source, target = line.split("\\t")
    image = np.asarray(Image.open(source))
    begun = time.process_time()
    out = plain(translator, image) if name == "before" else translator.array(image)
    seconds = time.process_time() - begun
    np.save(target.strip(), out)
    print(json.dumps({"cpu_seconds": seconds, "peak_mb": peak()}), flush=True)
"""

PREPARE = """
import sys
from pathlib import Path
import torch
from cyclegan.model import DIRECTIONS, save_model
from cyclegan.networks import build_generator
folder, options = Path(sys.argv[1]), {"name": "resnet", "blocks": 9, "width": 64}
torch.manual_seed(0)
save_model(folder, {d: build_generator(**options) for d in DIRECTIONS}, {"generator": options})
"""


class Worker:
    """An engine in a process that waits for pictures."""

    def __init__(self, name: str, model: str) -> None:
        engine, precision = ENGINES[name]
        command = [sys.executable, "-c", WORKER, name, model, engine, precision]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loaded = self._answer()

    def run(self, picture: Path, target: Path) -> dict[str, Any]:
        """CPU seconds and peak memory of translating the picture into a .npy file."""
        assert self.process.stdin
        self.process.stdin.write(f"{picture}\t{target}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("an engine ended; its message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def cold_start(model: str, engine: str, precision: str, picture: Path, target: Path) -> dict[str, float]:
    """CPU seconds and peak memory of the command for one picture, from its start to its end."""
    words = ["translate", model, str(picture), "--out", str(target), "--overwrite"]
    command = [sys.executable, "-m", "cyclegan", *words, "--engine", engine, "--precision", precision]
    child = subprocess.Popen(command)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit("`cyclegan translate` failed; its message is above")
    return {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


def picture(side: int, path: Path) -> Path:
    """A picture of soft shapes, side×side pixels."""
    small = np.random.default_rng(side).integers(0, 256, (side // 16, side // 16, 3), np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path)
    return path


def measure_size(
    side: int, workers: dict[str, Worker], rounds: int, source: Path, folder: Path
) -> dict[str, dict[str, Any]]:
    """One row an engine: medians over the rounds, the ratio to the first one within each round."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    for number in range(rounds + 1):  # the first one warms up
        for name in list(workers)[:: -1 if number % 2 else 1]:
            result = workers[name].run(source, folder / f"{name}.npy")
            if number:
                rows[name].append(result)
    pictures = {name: np.load(folder / f"{name}.npy").astype(int) for name in workers}
    table = {}
    first = next(iter(workers))
    for name, results in rows.items():
        ratios = [
            one["cpu_seconds"] / own["cpu_seconds"] for one, own in zip(rows[first], results, strict=True)
        ]
        apart = np.abs(pictures[name] - pictures[BASE if BASE in workers else first])
        table[name] = {
            "cpu_seconds": round(statistics.median(r["cpu_seconds"] for r in results), 3),
            "times_faster": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "peak_mb": round(results[-1]["peak_mb"]),
            "grey_levels_apart": round(float(apart.mean()), 3),
            "largest_difference": int(apart.max()),
        }
        print(f"{side:5} {name:18} {table[name]}", flush=True)
    return table


def main() -> None:
    """Print rows and write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    available = [name for name in ENGINES if has_bfloat16() or not name.endswith("bf16")]
    parser.add_argument("--engines", nargs="+", choices=available, default=available, metavar="ENGINE")
    args = parser.parse_args()
    names = args.engines
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # no cold start compiles the libraries' Python
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.environ["CYCLEGAN_TRACKING"] = "off"
        model = args.model or str(folder / "model")
        if not args.model:
            subprocess.run([sys.executable, "-c", PREPARE, model], check=True)
        export = [sys.executable, "-m", "cyclegan", "export", model, "--direction", "AtoB"]
        subprocess.run([*export, "--out", str(folder / "export")], check=True)
        onnx = str(folder / "export" / "AtoB.onnx")
        addresses = {name: model if ENGINES[name][0] == "torch" else onnx for name in names}
        facts: dict[str, Any] = {
            "model": args.model or "resnet, 9 blocks of width 64, random weights",
            "threads": resolve_threads(0),
            "compared_with": names[0],
            "load_average": os.getloadavg()[0],
            "cold_start": {},
            "sizes": {},
        }
        small = picture(256, folder / "256.png")
        for name in (name for name in names if name != "before"):
            runs = [
                cold_start(addresses[name], *ENGINES[name], small, folder / "cold.png")
                for _ in range(min(args.rounds, 3))
            ]
            best = min(runs, key=lambda run: run["cpu_seconds"])
            facts["cold_start"][name] = {key: round(value, 2) for key, value in best.items()}
            print(f"cold  {name:18} {facts['cold_start'][name]}", flush=True)
        workers = {name: Worker(name, addresses[name]) for name in names}
        for side in args.sizes:
            source = picture(side, folder / f"{side}.png")
            facts["sizes"][str(side)] = measure_size(side, workers, args.rounds, source, folder)
        for worker in workers.values():
            worker.close()
        write_json(args.out, facts)


if __name__ == "__main__":
    main()
