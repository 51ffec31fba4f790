"""Evaluation against torch-fidelity and pytorch-fid: the same values, and how long they take.

    python benchmarks/evaluation.py [agreement] [frechet] [whole] --data FOLDER --weights FILE

FOLDER holds maps/ and monet2photo/ unpacked (trainA trainB testA testB); FILE the FID Inception in
torch-fidelity's names. Prints tables and writes benchmarks/results/evaluation.json. Times alternate between
the candidates on the same machine; what is given are medians, and ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.record import RESULTS, record
from cyclegan.evaluation.distances import frechet_distance
from cyclegan.evaluation.extractors.features import load_extractor
from cyclegan.io.files import sha256


def read(folder: Path, most: int, side: int = 256) -> np.ndarray:
    """The first `most` images of a folder as uint8 N×side×side×3."""
    files = sorted(folder.iterdir())[:most]
    images = [
        Image.open(file).convert("RGB").resize((side, side), Image.Resampling.BICUBIC) for file in files
    ]
    return np.stack([np.asarray(image) for image in images])


def write(images: np.ndarray, folder: Path) -> Path:
    """Save images as PNG, for the tools that read folders."""
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:04}.png", compress_level=1)
    return folder


def alternate(candidates: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Median seconds of each candidate, called in turn `repeat` times."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeat):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
            print(f"  ({name}: {seconds[name][-1]:.2f} s)", file=sys.stderr, flush=True)
    return {name: statistics.median(values) for name, values in seconds.items()}


def agreement(data: Path, weights: Path, most: int) -> list[dict[str, Any]]:
    """The Fréchet distance of three pairs of folders by three libraries, and on equal input."""
    import torch_fidelity
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    pairs = {
        "maps testA : testB": (data / "maps/testA", data / "maps/testB"),
        "maps trainA : testA": (data / "maps/trainA", data / "maps/testA"),
        "monet2photo testA : testB": (data / "monet2photo/testA", data / "monet2photo/testB"),
    }
    network = pytorch_fid_network(weights)

    def theirs(images: np.ndarray, tensorflow: bool) -> dict[int, torch.Tensor]:
        rows: dict[int, list[torch.Tensor]] = {64: [], 768: []}
        network.resize_input = network.normalize_input = not tensorflow
        with torch.inference_mode():
            for start in range(0, len(images), 16):
                x = torch.tensor(images[start : start + 16]).permute(0, 3, 1, 2).float()
                if tensorflow:
                    x = interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
                    x = (x - 128) / 128
                else:
                    x = x / 255
                for dimensions, maps in zip(rows, network(x), strict=True):
                    rows[dimensions].append(maps.mean((2, 3)))
        return {dimensions: torch.cat(parts) for dimensions, parts in rows.items()}

    table = []
    for name, folders in pairs.items():
        sets = [read(folder, most) for folder in folders]
        plain = [theirs(images, tensorflow=False) for images in sets]
        equal = [theirs(images, tensorflow=True) for images in sets]
        with tempfile.TemporaryDirectory() as temporary:
            written = [write(images, Path(temporary) / str(i)) for i, images in enumerate(sets)]
            for dimensions in (768, 64):
                extractor = load_extractor(f"inception{dimensions}", str(weights))  # type: ignore[arg-type]
                ours = frechet_distance(*(extractor(images, 16) for images in sets))
                fidelity = torch_fidelity.calculate_metrics(
                    input1=str(written[0]),
                    input2=str(written[1]),
                    fid=True,
                    feature_layer_fid=str(dimensions),
                    feature_extractor_weights_path=str(weights),
                    cuda=False,
                    batch_size=16,
                    verbose=False,
                    cache=False,
                )["frechet_inception_distance"]
                table.append(
                    {
                        "pair": name,
                        "images": [len(images) for images in sets],
                        "features": dimensions,
                        "ours": ours,
                        "torch-fidelity": float(fidelity),
                        "pytorch-fid": by_pytorch_fid(*(f[dimensions] for f in plain)),
                        "pytorch-fid on TensorFlow's input": by_pytorch_fid(*(f[dimensions] for f in equal)),
                    }
                )
                print_row(table[-1])
    return table


def print_row(row: dict[str, Any]) -> None:
    print(f"{row['pair']:28}{row['images']!s:12}{row['features']:5}", end="")
    for name in ("ours", "torch-fidelity", "pytorch-fid", "pytorch-fid on TensorFlow's input"):
        print(f"  {name} {row[name]:.5f} ({row[name] / row['ours'] - 1:+.1e})", end="")
    print(flush=True)


def pytorch_fid_network(weights: Path) -> Any:
    """pytorch-fid's Inception with these weights, features 64 and 768; its layers have the same names."""
    from pytorch_fid import inception

    former = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = lambda *_, **__: torch.load(weights, weights_only=True)
    try:
        return inception.InceptionV3([0, 2]).eval()
    finally:
        inception.load_state_dict_from_url = former


def by_pytorch_fid(x: torch.Tensor, y: torch.Tensor) -> float:
    """pytorch-fid's Fréchet distance of features."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    a, b = x.double().numpy(), y.double().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(
            calculate_frechet_distance(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False))
        )


def by_eigenvalues(x: torch.Tensor, y: torch.Tensor) -> float:
    """torch-fidelity's Fréchet distance of features."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    found = fid_statistics_to_metric(*(fid_features_to_statistics(f) for f in (x, y)), verbose=False)
    return float(found["frechet_inception_distance"])


def frechet(repeat: int) -> list[dict[str, Any]]:
    """The distance alone, of 2048 features that decay as Inception's do."""
    import torch_fidelity  # noqa: F401 - its import is not timed

    table = []
    for n, m, times in ((120, 140, repeat), (1096, 1098, max(1, repeat // 2))):
        generator = torch.Generator().manual_seed(0)
        scale = torch.logspace(0, -2, 2048, dtype=torch.float64)
        x = torch.randn(n, 2048, generator=generator, dtype=torch.float64) * scale
        y = torch.randn(m, 2048, generator=generator, dtype=torch.float64) * scale * 1.2 + 0.01
        values: dict[str, float] = {}
        ways = {"ours": frechet_distance, "torch-fidelity": by_eigenvalues, "pytorch-fid": by_pytorch_fid}

        def call(name: str, way: Callable[..., float], x: torch.Tensor = x, y: torch.Tensor = y) -> None:
            values[name] = way(x, y)  # noqa: B023 - called within this turn of the loop

        seconds = alternate({k: lambda k=k, w=w: call(k, w) for k, w in ways.items()}, times)  # type: ignore[misc]
        row = {"images": [n, m], "seconds": seconds, "values": values}
        table.append(row)
        print(f"{n} against {m}:", end="")
        for name in ways:
            print(
                f"  {name} {seconds[name]:.2f} s ×{seconds[name] / seconds['ours']:.1f} {values[name]:.6f}",
                end="",
            )
        print(flush=True)
    return table


ONE = """
import sys, numpy as np
from pathlib import Path
from PIL import Image
import torch
torch.set_num_threads(int(sys.argv[5]))
from cyclegan.evaluation.extractors.cache import cached_features
from cyclegan.evaluation.distances import frechet_distance
from cyclegan.evaluation.extractors.features import load_extractor
real, fake = (np.stack([np.asarray(Image.open(f)) for f in sorted(Path(d).iterdir())]) for d in sys.argv[1:3])
extractor = load_extractor("inception2048", sys.argv[3], sys.argv[4])
print("FID: ", frechet_distance(extractor(fake, 16), cached_features(real, extractor, 16)))
"""


def whole(data: Path, weights: Path, count: int, repeat: int, threads: int) -> dict[str, Any]:
    """Two folders of `count` images to an FID at 2048 features, each way a process of its own.

    CPU time is given beside: on a busy machine it is the steadier of the two. Layers that the weights file
    lacks are filled at random: the value means nothing, the work is the same.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = torch.load(weights, weights_only=True)
        generator = torch.Generator().manual_seed(0)
        for key, tensor in state.items():
            if key.startswith(("Mixed_7b", "Mixed_7c")) and tensor.is_floating_point() and not tensor.any():
                if key.endswith("conv.weight"):
                    fan = tensor[0].numel()
                    state[key] = torch.randn(tensor.shape, generator=generator) * (2 / fan) ** 0.5
                elif key.endswith(("bn.weight", "running_var")):
                    state[key] = torch.ones_like(tensor)
        checkpoints = folder / "torch" / "hub" / "checkpoints"
        checkpoints.mkdir(parents=True)
        full = checkpoints / "pt_inception-2015-12-05-6726825d.pth"
        torch.save(state, full)
        real = write(read(data / "maps/testB", count), folder / "real")
        fake = write(read(data / "maps/trainB", count), folder / "fake")
        environment = os.environ | {
            "TORCH_HOME": str(folder / "torch"),
            "OMP_NUM_THREADS": str(threads),
            "PYTHONWARNINGS": "ignore",
        }
        values: dict[str, float] = {}
        cpu: dict[str, list[float]] = {}

        def command(name: str, words: list[str], cache: str) -> None:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            found = subprocess.run(
                words,
                env=environment | {"CYCLEGAN_CACHE": str(folder / cache)},
                capture_output=True,
                text=True,
                check=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            cpu.setdefault(name, []).append(spent)
            print(f"  ({name}: {spent:.1f} s of CPU time)", file=sys.stderr, flush=True)
            values[name] = float(found.stdout.strip().splitlines()[-1].split()[-1])

        ours = [sys.executable, "-c", ONE, str(real), str(fake), str(full), sha256(full), str(threads)]
        theirs = [sys.executable, "-m", "pytorch_fid", str(real), str(fake), "--device", "cpu"]
        theirs += ["--batch-size", "16", "--num-workers", "1"]
        command("warm", ours, "warm")
        fresh = iter(range(10**6))
        seconds = alternate(
            {
                "ours": lambda: command("ours", ours, f"fresh{next(fresh)}"),
                "ours, real side cached": lambda: command("ours, real side cached", ours, "warm"),
                "pytorch-fid": lambda: command("pytorch-fid", theirs, "none"),
            },
            repeat,
        )
    spent = {name: statistics.median(cpu[name]) for name in seconds}
    print(f"{count} + {count} images, 2048 features, {threads} threads; pytorch-fid takes × as much:")
    for name, value in seconds.items():
        wall, work = seconds["pytorch-fid"] / value, spent["pytorch-fid"] / spent[name]
        print(f"  {name:24}{value:7.1f} s ×{wall:.2f}   CPU time {spent[name]:7.1f} s ×{work:.2f}")
    return {"images": count, "threads": threads, "seconds": seconds, "cpu_seconds": spent, "values": values}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=["agreement", "frechet", "whole", []], default=[])
    parser.add_argument("--data", type=Path, help="folder with maps/ and monet2photo/")
    parser.add_argument("--weights", type=Path, help="FID Inception weights")
    parser.add_argument("--images", type=int, default=200, help="images of each folder at most")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS / "evaluation.json", help="results as JSON")
    args = parser.parse_args()
    parts = args.parts or ["agreement", "frechet", "whole"]
    if set(parts) - {"frechet"} and not (args.data and args.weights):
        parser.error("agreement and whole need --data and --weights")
    torch.set_num_threads(args.threads)
    results: dict[str, Any] = json.loads(args.out.read_text()) if args.out.is_file() else {}
    if "agreement" in parts:
        results["agreement"] = agreement(args.data, args.weights, args.images)
    if "frechet" in parts:
        results["frechet"] = frechet(args.repeat)
    if "whole" in parts:
        results["whole"] = whole(args.data, args.weights, args.images, args.repeat, args.threads)
    record(args.out, results)


if __name__ == "__main__":
    main()
