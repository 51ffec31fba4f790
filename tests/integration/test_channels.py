"""Two channels of 16 bits to one, from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import cyclegan
from cyclegan.cli.main import main
from cyclegan.data.prepared import Prepared
from cyclegan.model import load_model, read_config

TINY = "--generator resnet --blocks 1 --width 4 --crop-size 16 --precision fp32 --epochs 1 --decay-epochs 0"
JUDGE = "--discriminator patchgan --discriminator-layers 1 --discriminator-width 4 --threads 1 --device cpu"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Waves: six files of two channels, and six of one."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:32, 0:32] / 32
    for domain, channels in (("A", 2), ("B", 1)):
        (tmp_path / "images" / domain).mkdir(parents=True)
        for i in range(6):
            waves = [np.sin(rng.uniform(3, 9) * x) * np.cos(rng.uniform(3, 9) * y) for _ in range(channels)]
            values = ((np.dstack(waves) / 2 + 0.5) * 60000).astype(np.uint16)
            name = tmp_path / "images" / domain / f"{i}.tif"
            tifffile.imwrite(name, values.squeeze(), photometric="minisblack", planarconfig="contig")
    return tmp_path / "images"


def test_from_files_to_files(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    monkeypatch.setenv("CYCLEGAN_CACHE", str(tmp_path / "cache"))

    def command(line: str) -> int:
        return main(line.split())

    assert command(f"fetch {images} --out raw --test-share 0.5") == 0
    assert command("preprocess raw --out prepared --load-size 32 --channels 2,1 --bits 16") == 0
    data = Prepared.open(tmp_path / "prepared")
    for name, row in zip(data.domains["trainA"]["names"], data.array("trainA"), strict=True):
        assert np.array_equal(row, tifffile.imread(tmp_path / "raw" / "trainA" / name))

    train = f"train --prepared prepared --model model --checkpoints kept {TINY} {JUDGE}"
    for refused in ("--lambda-identity 1", "--lambda-identity 0 --generator vgg_unet"):
        assert command(f"{train} {refused}") == 2
    assert command(f"{train} --lambda-identity 0 --evaluate-every 1 --evaluate-features inception64") == 2
    assert not (tmp_path / "kept").exists()
    assert command(f"{train} --lambda-identity 0") == 0
    assert read_config(tmp_path / "model")["pixels"]["channels"] == {"A": 2, "B": 1}

    assert command("evaluate --prepared prepared --model model --out s --features inception2048") == 2
    assert command("evaluate --prepared prepared --model model --out scores --resamples 3 --device cpu") == 0
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert {"cycle_l1_A", "cycle_l1_B", "l1_AtoB", "psnr_BtoA", "frechet_random_AtoB"} <= scores.keys()
    assert not {"frechet_random_input", "identity_l1_A", "l1_AtoB_input", "fid"} & scores.keys()

    for direction, domain, channels in (("AtoB", "A", 1), ("BtoA", "B", 2)):
        folder = tmp_path / "raw" / f"test{domain}"
        out = tmp_path / direction
        assert command(f"translate model {folder} --out {out} --direction {direction} --device cpu") == 0
        model = load_model(tmp_path / "model")
        for file in sorted(out.iterdir()):
            found = tifffile.imread(file)
            given = tifffile.imread(folder / file.name).reshape(1, 32, 32, -1).astype(np.float32)
            with torch.inference_mode():
                unit = torch.from_numpy(given / 32767.5 - 1).permute(0, 3, 1, 2)
                wanted = model[direction](unit)[0].permute(1, 2, 0).numpy()  # type: ignore[index]
            assert found.dtype == np.uint16 and found.reshape(32, 32, -1).shape[2] == channels
            apart = np.abs(found.reshape(wanted.shape) - np.rint((wanted + 1) * 32767.5))
            assert apart.max() <= 2, "not 16 bits"
    picture = next((tmp_path / "raw" / "testB").iterdir())
    alone = cyclegan.load(tmp_path / "model", "BtoA", device="cpu")(picture)
    assert np.array_equal(alone, tifffile.imread(tmp_path / "BtoA" / picture.name))
    assert command("export model") == 2
    assert command(f"translate model {picture} --out x.tif --engine onnx") == 2
