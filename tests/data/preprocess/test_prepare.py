from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cyclegan.data.config import PreprocessConfig
from cyclegan.data.decode import fit
from cyclegan.data.prepared import Prepared
from cyclegan.data.preprocess import packing
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.data.preprocess.reuse import former_rows
from cyclegan.data.version import directory_md5
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.fields import recorded
from cyclegan.io.files import read_json

MakeTree = Callable[..., Path]
SMALL = PreprocessConfig(load_size=16, min_size=8)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_arrays_and_manifest(tmp_path: Path, make_tree: MakeTree) -> None:
    raw, out = make_tree(tmp_path / "raw"), tmp_path / "new" / "prepared"
    (raw / "source.json").write_text('{"uri": "somewhere", "version": "stale"}')
    prepared = preprocess(raw, out, SMALL)
    assert prepared == Prepared.open(out)
    assert (prepared.uri, prepared.version) == ("somewhere", directory_md5(raw))
    manifest = prepared.manifest
    assert (manifest.height, manifest.width, manifest.paired) == (16, 16, True)
    assert manifest.rejected == []
    assert "bicubic" in manifest.filter
    for domain, count in {"trainA": 5, "trainB": 4, "testA": 2, "testB": 2}.items():
        array = np.load(out / f"{domain}.npy", mmap_mode="r")
        assert (array.shape, array.dtype) == ((count, 16, 16, 3), np.uint8)
        assert manifest.domains[domain]["count"] == count
        for row, name in zip(array, manifest.domains[domain]["names"], strict=True):
            assert (row == fit(np.asarray(Image.open(raw / domain / name)), (16, 16), "squash")).all()
    assert json.loads((out / "manifest.json").read_text())["format"] == 1


def test_the_rows_of_pairs_meet(
    tmp_path: Path, make_tree: MakeTree, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = {"testA": ["10_A.png", "2_A.png", "b/1_A.png"], "testB": ["b/1_B.png", "2_B.png", "10_B.png"]}
    raw = make_tree(tmp_path / "raw", {"trainA": 2, "trainB": 3, **names})
    manifest = preprocess(raw, tmp_path / "out", SMALL)
    assert manifest.paired
    assert manifest.domains["testA"]["names"] == ["10_A.png", "2_A.png", "b/1_A.png"]
    assert manifest.domains["testB"]["names"] == ["10_B.png", "2_B.png", "b/1_B.png"]
    assert "count as pairs; if that is by chance, pass --pairs no" in caplog.text
    caplog.clear()
    assert not preprocess(raw, tmp_path / "no", PreprocessConfig(load_size=16, pairs="no")).paired
    assert "as pairs" not in caplog.text


def test_a_bad_half_takes_its_pair_along(tmp_path: Path, make_tree: MakeTree) -> None:
    raw = make_tree(tmp_path / "raw", {"trainA": 9, "trainB": 9, "testA": 3, "testB": 3})
    (raw / "testA" / "1.png").write_bytes(b"damaged")
    manifest = preprocess(raw, tmp_path / "out", SMALL)
    assert manifest.paired
    assert manifest.domains["testA"]["names"] == manifest.domains["testB"]["names"] == ["0.png", "2.png"]
    assert {r["file"] for r in manifest.manifest.rejected} == {"testA/1.png", "testB/1.png"}
    assert "its pair testA/1.png" in manifest.manifest.rejected[1]["reason"]


def test_rejected_images_leave_no_trace_in_the_arrays(tmp_path: Path, make_tree: MakeTree) -> None:
    clean = make_tree(tmp_path / "clean", {"trainA": 9, "trainB": 9, "testA": 1, "testB": 1})
    dirty = Path(shutil.copytree(clean, tmp_path / "dirty"))
    (dirty / "trainA" / "00.png").write_bytes(b"")
    (dirty / "trainA" / "55.png").write_bytes(b"no image")
    preprocess(clean, tmp_path / "1", SMALL)
    manifest = preprocess(dirty, tmp_path / "2", SMALL)
    assert [r["file"] for r in manifest.manifest.rejected] == ["trainA/00.png", "trainA/55.png"]
    first, second = hashes(tmp_path / "1"), hashes(tmp_path / "2")
    for file in ("manifest.json", "rows.json"):
        del first[file], second[file]
    assert first == second


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path, make_tree: MakeTree) -> None:
    raw = make_tree(tmp_path / "raw", {"trainA": 800, "trainB": 9, "testA": 1, "testB": 1})
    (raw / "trainA" / "77.png").write_bytes(b"no image")
    for workers in (1, 3):
        preprocess(raw, tmp_path / str(workers), PreprocessConfig(load_size=16, workers=workers))
    assert hashes(tmp_path / "1") == hashes(tmp_path / "3")


def test_a_disk_that_takes_a_part_at_a_time(
    tmp_path: Path, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = make_tree(tmp_path / "raw")
    whole = preprocess(raw, tmp_path / "whole", SMALL)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, place: write(file, data[:100], place))
    parts = preprocess(raw, tmp_path / "parts", SMALL)
    assert hashes(whole.folder) == hashes(parts.folder)


def test_too_many_bad_images(tmp_path: Path, make_tree: MakeTree) -> None:
    raw, out = make_tree(tmp_path / "raw"), tmp_path / "out"
    preprocess(raw, out, SMALL)
    former = hashes(out)
    for name in ("0.png", "1.png"):
        (raw / "trainA" / name).write_bytes(b"no image")
    with pytest.raises(
        CycleGANError,
        match=r"2 of 13 images .* max_bad_share = 0\.1: 2 \.png files \(trainA/0\.png …\): not an",
    ):
        preprocess(raw, out, SMALL)
    assert hashes(out) == former
    assert len(preprocess(raw, out, PreprocessConfig(load_size=16, max_bad_share=0.2)).manifest.rejected) == 2


def test_a_domain_with_no_usable_image(tmp_path: Path, make_tree: MakeTree) -> None:
    raw = make_tree(tmp_path / "raw", {"trainA": 5, "trainB": 5, "testA": 1, "testB": ["x.png"]})
    (raw / "testA" / "0.png").write_bytes(b"no image")
    with pytest.raises(CycleGANError, match="No usable image is left in testA"):
        preprocess(raw, tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_an_unreadable_file_is_listed(tmp_path: Path, make_tree: MakeTree) -> None:
    raw = make_tree(tmp_path / "raw", {"trainA": 12, "trainB": 5, "testA": 1, "testB": 1})
    (raw / "trainA" / "5.png").unlink()
    (raw / "trainA" / "5.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CycleGANError, match=r"5\.png"):
        preprocess(raw, tmp_path / "out", SMALL)


def test_duplicates_across_train_and_test(
    tmp_path: Path, make_tree: MakeTree, picture: Callable[..., Image.Image], caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_tree(tmp_path / "raw")
    shutil.copy(raw / "testA" / "1.png", raw / "trainA" / "copy.png")
    picture(5000, (200, 150)).save(raw / "testB" / "large.jpg", quality=90)
    picture(5000, (180, 130)).save(raw / "trainB" / "small.jpg", quality=50)
    manifest = preprocess(raw, tmp_path / "out", SMALL)
    assert manifest.manifest.duplicates == [
        {"test": "testA/1.png", "exact": 1, "near": 0, "train": ["trainA/copy.png"]},
        {"test": "testB/large.jpg", "exact": 0, "near": 1, "train": ["trainB/small.jpg"]},
    ]
    assert "2 train images are in the test set too" in caplog.text
    dropped = preprocess(raw, tmp_path / "out", PreprocessConfig(load_size=16, drop_test_duplicates=True))
    assert "copy.png" not in dropped.domains["trainA"]["names"]
    assert "small.jpg" not in dropped.domains["trainB"]["names"]
    assert dropped.domains["testB"]["count"] == 3
    assert {r["reason"] for r in dropped.manifest.rejected} == {
        "exact duplicate of testA/1.png",
        "near duplicate of testB/large.jpg",
    }


def test_the_same_again_does_nothing_and_a_change_does(tmp_path: Path, make_tree: MakeTree) -> None:
    raw, out = make_tree(tmp_path / "raw"), tmp_path / "out"
    first = preprocess(raw, out, SMALL)
    stamp = (out / "trainA.npy").stat().st_mtime_ns
    assert preprocess(raw, out, SMALL) == first
    assert (out / "trainA.npy").stat().st_mtime_ns == stamp
    assert preprocess(raw, out, PreprocessConfig(load_size=20)).height == 20
    shutil.copy(raw / "trainA" / "0.png", raw / "trainA" / "9.png")
    assert preprocess(raw, out, PreprocessConfig(load_size=20)).domains["trainA"]["count"] == 6
    (out / "testB.npy").unlink()
    assert preprocess(raw, out, PreprocessConfig(load_size=20)).domains["testB"]["count"] == 2
    assert (out / "testB.npy").is_file()


def test_the_bytes_depend_on_the_images_alone(tmp_path: Path, make_tree: MakeTree) -> None:
    """Neither where the images came from nor who says the version decides what DVC hashes."""
    raw = make_tree(tmp_path / "raw")
    origins = {
        "1": '{"uri": "s3://bucket/photos", "names": {"A": "horses", "B": "zebras"}}',
        "2": "",
        "3": "[]",
    }
    for name, text in origins.items():
        colleague = Path(shutil.copytree(raw, tmp_path / "at" / name / "data"))
        if text:
            (colleague / "source.json").write_text(text)
        version = directory_md5(raw) if name == "3" else ""
        preprocess(
            colleague, tmp_path / name, PreprocessConfig(load_size=16, version=version, workers=int(name))
        )
    found = {name: hashes(tmp_path / name) for name in origins}
    assert {file for name in found for file in found[name]} == {
        *(f"{subset}.npy" for subset in ("trainA", "trainB", "testA", "testB")),
        "manifest.json",
        "provenance.json",
        "rows.json",  # not where the version is given
    }
    for file in ("provenance.json", "rows.json"):
        assert f"outputs/prepared/{file}" in Path(".dvcignore").read_text().splitlines()
        for name in found:
            found[name].pop(file, None)
    assert found["1"] == found["2"] == found["3"]
    opened = Prepared.open(tmp_path / "1")
    assert (opened.uri, opened.title) == ("s3://bucket/photos", "horses → zebras")
    assert Prepared.open(tmp_path / "2").title == "images"


def test_a_new_origin_of_the_same_images_is_noted(tmp_path: Path, make_tree: MakeTree) -> None:
    raw, out = make_tree(tmp_path / "raw"), tmp_path / "out"
    preprocess(raw, out, SMALL)
    before = hashes(out)
    (raw / "source.json").write_text('{"uri": "elsewhere"}')
    assert preprocess(raw, out, SMALL).uri == Prepared.open(out).uri == "elsewhere"
    after = hashes(out)
    assert before.pop("provenance.json") != after.pop("provenance.json")
    assert before == after


def test_other_names_of_the_domains_leave_the_pixels(
    tmp_path: Path, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = make_tree(tmp_path / "raw"), tmp_path / "out"
    preprocess(raw, out, SMALL)
    before = hashes(out)
    assert "names" not in json.loads((out / "manifest.json").read_text())  # bytes of before there were names
    monkeypatch.setattr("cyclegan.data.preprocess.preprocess._pack", None)  # nothing is packed again
    for names, title in (("cats,dogs", "cats → dogs"), ("dogs,cats", "dogs → cats"), ("", "images")):
        packed = preprocess(raw, out, dataclasses.replace(SMALL, names=names))
        assert packed.title == Prepared.open(out).title == title
        kept = json.loads((out / "manifest.json").read_text()).get("names", {})
        assert list(kept.values()) == names.split(",") * bool(names)
        rows = json.loads((out / "rows.json").read_text())
        assert rows["manifest"] == hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest()
    assert hashes(out) == before


def test_the_version_can_be_given(tmp_path: Path, make_tree: MakeTree) -> None:
    config = PreprocessConfig(load_size=16, version="a" * 32 + ".dir")
    assert preprocess(make_tree(tmp_path / "raw"), tmp_path / "out", config).version == "a" * 32 + ".dir"


@pytest.mark.parametrize("name", ["caf\udce9.png", "new\nline.png", "ünï.png"])
def test_odd_file_names(tmp_path: Path, make_tree: MakeTree, name: str) -> None:
    raw = make_tree(tmp_path / "raw")
    (raw / "trainA" / "0.png").rename(raw / "trainA" / name)
    manifest = preprocess(raw, tmp_path / "out", SMALL)
    assert manifest.domains["trainA"]["count"] == 5
    assert Prepared.open(tmp_path / "out") == manifest


def test_linked_folders_are_read(tmp_path: Path, make_tree: MakeTree) -> None:
    raw = make_tree(tmp_path / "raw")
    (raw / "trainA").rename(tmp_path / "elsewhere")
    (raw / "trainA").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "elsewhere")
    assert preprocess(raw, tmp_path / "out", SMALL).domains["trainA"]["count"] == 5


def test_a_linked_result_stays_a_link(tmp_path: Path, make_tree: MakeTree) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "large disk")
    preprocess(make_tree(tmp_path / "raw"), tmp_path / "out", SMALL)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "large disk" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: shutil.rmtree(raw), "There is no folder"),
        (lambda raw: shutil.rmtree(raw / "testB"), "has no folder testB; `cyclegan fetch"),
        (lambda raw: [p.unlink() for p in (raw / "trainA").iterdir()], "trainA holds no images"),
        (lambda raw: [p.rename(p.with_suffix(".txt")) for p in (raw / "trainA").iterdir()], "5 other files"),
    ],
)
def test_what_is_no_raw_folder(
    tmp_path: Path, make_tree: MakeTree, spoil: Callable[[Path], object], message: str
) -> None:
    raw = make_tree(tmp_path / "raw")
    spoil(raw)
    with pytest.raises(UsageError, match=message):
        preprocess(raw, tmp_path / "out", SMALL)


def test_other_peoples_folders_are_not_replaced(tmp_path: Path, make_tree: MakeTree) -> None:
    raw, out = make_tree(tmp_path / "raw"), tmp_path / "home"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="other files"):
        preprocess(raw, out, SMALL)
    assert (out / "thesis.tex").read_text() == "years of work"
    with pytest.raises(UsageError, match="is a file"):
        preprocess(raw, out / "thesis.tex", SMALL)


def test_images_of_one_size_may_keep_it(
    tmp_path: Path, make_tree: MakeTree, picture: Callable[..., Image.Image]
) -> None:
    """Not even a pixel changes, and what has another size is refused by name."""
    raw = make_tree(tmp_path / "raw")  # of 24×20 pixels
    (raw / "trainA" / "-first.png").write_bytes(b"damaged")
    picture(8, (20, 24)).save(raw / "trainB" / "upright.png")
    keep = PreprocessConfig(aspect="keep", min_size=8, max_bad_share=0.5)
    prepared = preprocess(raw, tmp_path / "out", keep)
    assert (prepared.height, prepared.width) == (20, 24)
    for row, name in zip(prepared.array("testB"), prepared.domains["testB"]["names"], strict=True):
        assert np.array_equal(row, np.asarray(Image.open(raw / "testB" / name)))
    reasons = {entry["file"]: entry["reason"] for entry in prepared.manifest.rejected}
    assert reasons["trainB/upright.png"].startswith("20x24, and not 24x20 as the first")
    assert len(reasons) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"load_size": 0},
        {"load_size": 10**6},
        {"load_width": -1},
        {"load_width": 10**6},
        {"load_width": 64, "aspect": "keep"},
        {"max_bad_share": 1.5},
        {"workers": -1},
        {"min_size": 0},
        {"max_pixels": 1 << 40},
    ],
)
def test_parameters_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        PreprocessConfig(**wrong)  # type: ignore[arg-type]


def test_a_full_disk_leaves_the_former_result(tmp_path: Path, make_tree: MakeTree) -> None:
    raw, out = make_tree(tmp_path / "raw"), tmp_path / "out"
    preprocess(raw, out, SMALL)
    former = hashes(out)
    script = f"""
import resource
from pathlib import Path
from cyclegan.data.config import PreprocessConfig
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.errors import CycleGANError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    preprocess(Path({str(raw)!r}), Path({str(out)!r}), PreprocessConfig(load_size=200))
except CycleGANError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-B", "-c", script], capture_output=True, text=True, check=True)
    assert "5 images of 200x200 take 1 MB" in done.stdout
    assert hashes(out) == former
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "raw"]


@pytest.mark.parametrize("drop", [False, True])
def test_images_that_are_packed_already_are_copied(
    tmp_path: Path,
    make_tree: MakeTree,
    picture: Callable[..., Image.Image],
    monkeypatch: pytest.MonkeyPatch,
    drop: bool,
) -> None:
    """Some new, moved, deleted, damaged: bytes as of a full run, and only what is new is decoded."""
    raw, config = make_tree(tmp_path / "raw"), replace(SMALL, max_bad_share=0.5, drop_test_duplicates=drop)
    Image.fromarray(np.asarray(picture(9, (40, 30), "L")).astype(np.uint16) * 257).save(
        raw / "trainA" / "deep.png"
    )
    preprocess(raw, tmp_path / "out", SMALL)
    names = sorted(path.name for path in (raw / "trainA").iterdir())
    (raw / "trainA" / names[0]).unlink()
    (raw / "trainA" / names[1]).rename(raw / "trainB" / "moved.png")
    shutil.copy(raw / "trainA" / names[2], raw / "testA" / "copy.png")
    (raw / "testB" / "bad.png").write_bytes(b"x")
    picture(77, (40, 30)).save(raw / "trainA" / "a-new.png")
    decoded: list[bytes] = []
    opened = packing.read_image
    monkeypatch.setattr(
        packing,
        "read_image",
        lambda data, *of: (decoded.append(data), opened(data, *of))[1],
    )
    preprocess(raw, tmp_path / "out", config)
    assert len(decoded) == 2
    preprocess(raw, tmp_path / "full", config)
    assert len(decoded) > 10
    assert hashes(tmp_path / "out") == hashes(tmp_path / "full")
    assert len(read_json(tmp_path / "out" / "rows.json")["deep"]["trainA"]) == 1


@pytest.mark.parametrize(
    "change", [{"load_size": 17}, {"aspect": "crop"}, {"white": 9.0}, "rows.json", "manifest.json"]
)
def test_rows_of_other_settings_or_arrays_are_not_taken_over(
    tmp_path: Path, make_tree: MakeTree, change: dict[str, Any] | str
) -> None:
    raw, out = make_tree(tmp_path / "raw"), tmp_path / "out"
    prepared = preprocess(raw, out, SMALL)
    method = (prepared.manifest.filter, prepared.manifest.decoding)
    settings = recorded(SMALL)
    assert len(former_rows(out, settings, method, (16, 16))) > 9
    assert former_rows(out, settings, ("nearest", method[1]), (16, 16)) == {}
    if isinstance(change, dict):
        settings |= change
    else:  # damaged, and no longer the manifest that the rows were noted for
        (out / change).write_text("{" if change == "rows.json" else (out / change).read_text() + " ")
    assert former_rows(out, settings, method, (16, 16)) == {}


def test_more_images_than_memory(tmp_path: Path, picture: Callable[..., Image.Image]) -> None:
    """The pixels pass through the disk: 150 MB of arrays with 80 MB of room beyond what the imports took."""
    raw = tmp_path / "raw"
    buffer = io.BytesIO()
    picture(0, (64, 64)).save(buffer, "JPEG")
    for domain, count in {"trainA": 48, "trainB": 2, "testA": 1, "testB": 1}.items():
        (raw / domain).mkdir(parents=True)
        for i in range(count):
            (raw / domain / f"{i}.jpg").write_bytes(buffer.getvalue())
    script = f"""
import resource
from pathlib import Path
import torch  # which resizes
import cyclegan.data.preprocess.packing
from cyclegan.data.config import PreprocessConfig
from cyclegan.data.preprocess.preprocess import preprocess
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 80_000_000,) * 2)
config = PreprocessConfig(load_size=1024, workers=1)
print(preprocess(Path({str(raw)!r}), Path({str(tmp_path / "out")!r}), config).domains["trainA"]["count"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "48\n", done.stderr
    assert (tmp_path / "out" / "trainA.npy").stat().st_size > 150_000_000
