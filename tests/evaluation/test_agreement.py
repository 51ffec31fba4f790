"""Our distances of real images against other libraries'; benchmarks/evaluation.py does more of it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.evaluation.distances import frechet_distance, kernel_distance
from cyclegan.evaluation.extractors.features import load_extractor

COUNT = 8


@pytest.fixture(scope="module")
def maps(real_data: Path) -> dict[str, np.ndarray]:
    """The first few aerial photos and maps of the test split, 128×128."""
    archive = real_data / "maps.zip"
    if not archive.is_file():
        pytest.skip("no maps.zip among the real images")
    with zipfile.ZipFile(archive) as file:
        found = {}
        for domain in ("testA", "testB"):
            names = sorted(n for n in file.namelist() if f"{domain}/" in n and n.endswith(".jpg"))[:COUNT]
            images = [
                Image.open(io.BytesIO(file.read(name))).convert("RGB").resize((128, 128)) for name in names
            ]
            found[domain] = np.stack([np.asarray(image) for image in images])
    return found


@pytest.mark.parametrize("dimensions", [64, 768])
def test_equal_to_torch_fidelity_on_real_folders(
    maps: dict[str, np.ndarray], inception_file: Path, tmp_path: Path, dimensions: int
) -> None:
    torch_fidelity = pytest.importorskip("torch_fidelity")
    for domain, images in maps.items():
        (tmp_path / domain).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / domain / f"{i:02}.png")
    theirs = torch_fidelity.calculate_metrics(
        input1=str(tmp_path / "testA"),
        input2=str(tmp_path / "testB"),
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=COUNT,
        feature_layer_fid=str(dimensions),
        feature_layer_kid=str(dimensions),
        feature_extractor_weights_path=str(inception_file),
        cuda=False,
        batch_size=COUNT,
        num_workers=0,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    extractor = load_extractor(f"inception{dimensions}", str(inception_file))  # type: ignore[arg-type]
    a, b = (extractor(maps[domain], 8) for domain in ("testA", "testB"))
    assert frechet_distance(a, b) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert kernel_distance(a, b)[0] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)


def test_equal_to_pytorch_fid_on_equal_input(
    maps: dict[str, np.ndarray], inception_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytorch-fid resizes and scales otherwise than TensorFlow did; the networks are the same."""
    inception = pytest.importorskip("pytorch_fid.inception")
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    state = torch.load(inception_file, weights_only=True)
    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: state)
    network = inception.InceptionV3([0], resize_input=False, normalize_input=False).eval()
    moments = []
    for domain in ("testA", "testB"):
        pixels = torch.tensor(maps[domain]).permute(0, 3, 1, 2).float()
        pixels = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(299, 299), align_corners=False)
        with torch.inference_mode():
            features = network((pixels - 128) / 128)[0].mean((2, 3)).double().numpy()
        moments += [features.mean(0), np.cov(features, rowvar=False)]
    extractor = load_extractor("inception64", str(inception_file))
    a, b = (extractor(maps[domain], 8) for domain in ("testA", "testB"))
    assert frechet_distance(a, b) == pytest.approx(calculate_frechet_distance(*moments), rel=1e-3)
