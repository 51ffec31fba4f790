"""Every parameter of fetch and preprocess changes what it says it changes."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclegan.cli.params import config_from
from cyclegan.data.config import FetchConfig, PreprocessConfig
from cyclegan.data.fetch import dvc_remote, origins
from cyclegan.data.fetch.archives import pack_zip
from cyclegan.data.fetch.fetch import fetch
from cyclegan.data.prepared import Prepared
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.data.source import Source
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io import download, storage
from cyclegan.io.download import Downloaded
from cyclegan.io.storage import FolderStore
from cyclegan.io.uri import reveal
from cyclegan.pixel_kind import PixelKind
from tests.data.conftest import count_threads

SIDE = 16


@dataclass
class Workbench:
    """A folder, what draws images into it, a web server, and the two steps."""

    folder: Path
    make_tree: Callable[..., Path]
    picture: Callable[..., Image.Image]
    web: Any
    patch: pytest.MonkeyPatch
    made: int = field(default=0, init=False)

    def new(self) -> Path:
        """The path of something that does not exist yet."""
        self.made += 1
        return self.folder / f"new{self.made}"

    def tree(self, folders: dict[str, int | list[str]] | None = None, **more: int) -> Path:
        return self.make_tree(self.new(), folders, **more)

    def archive(self) -> Path:
        path = self.new().with_suffix(".zip")
        pack_zip(self.tree(), path)
        return path

    def fetch(self, **changes: Any) -> tuple[Source, dict[str, bytes]]:
        """Fetch with some fields changed: what was found, and every file of it."""
        out = self.new()
        source = fetch(out, FetchConfig(**changes))
        return source, contents(out)

    def preprocess(self, raw: Path, **changes: Any) -> Prepared:
        return preprocess(raw, self.new(), PreprocessConfig(**{"load_size": SIDE, **changes}))


@pytest.fixture
def bench(
    tmp_path: Path,
    make_tree: Callable[..., Path],
    picture: Callable[..., Image.Image],
    web: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Workbench:
    monkeypatch.delenv("CYCLEGAN_DATASETS_URL", raising=False)
    return Workbench(tmp_path, make_tree, picture, web, monkeypatch)


Check = Callable[[Workbench], None]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "source.json"
    }


# Fetch


def source(bench: Workbench) -> None:
    raw = bench.tree()
    found, files = bench.fetch(source=str(raw))
    assert (found.uri, files) == (str(raw), contents(raw))
    drawn: list[dict[str, int]] = []

    def draw(folder: Path, **options: int) -> None:
        drawn.append(options)
        bench.make_tree(folder)

    bench.patch.setattr("cyclegan.data.sample.city.draw_city", draw)
    assert bench.fetch()[0].uri == "synthetic:city"
    bench.fetch(source="synthetic:city?train=3&size=32&seed=5")
    assert drawn == [{}, {"train": 3, "size": 32, "seed": 5}]


def dvc_version(remote: Path, files: dict[str, bytes]) -> str:
    """Put a folder's files into a DVC remote, as `dvc push` does; returns the folder's version."""

    def put(data: bytes, ending: str = "") -> str:
        md5 = hashlib.md5(data).hexdigest()
        path = remote / "files" / "md5" / md5[:2] / (md5[2:] + ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return md5 + ending

    listing = [{"md5": put(data), "relpath": name} for name, data in sorted(files.items())]
    return put(json.dumps(listing).encode(), ".dir")


def data_version(bench: Workbench) -> None:
    remote = bench.new()
    both = [contents(bench.tree(seed=seed)) for seed in (0, 1)]
    for files in both:
        version = dvc_version(remote, files)
        assert bench.fetch(source=str(remote), version=version)[1] == files
    raw = bench.tree()
    assert bench.fetch(source=str(raw))[0].version != version
    with pytest.raises(CycleGANError, match=f"not {version}"):
        bench.fetch(source=str(raw), version=version)


def checksum(bench: Workbench) -> None:
    path = bench.archive()
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    for accepted in ("", right, right.upper()):
        assert bench.fetch(source=str(path), sha256=accepted)[0].sha256 == right
    with pytest.raises(CycleGANError, match=f"{right}, not {'0' * 64}"):
        bench.fetch(source=str(path), sha256="0" * 64)


def two_folders(bench: Workbench) -> None:
    raw = bench.tree({"cats": 6, "dogs": 5})
    cats, dogs = raw / "cats", raw / "dogs"
    for a, b in ((cats, dogs), (dogs, cats)):
        found, files = bench.fetch(a=str(a), b=str(b))
        assert found.names == {"A": a.name, "B": b.name}
        for side, folder in (("A", a), ("B", b)):
            held = {data for name, data in files.items() if name.partition("/")[0].endswith(side)}
            assert held == set(contents(folder).values())


def folders_by_pattern(bench: Workbench) -> None:
    raw = bench.tree({"x/cats": 4, "dogs": 5, "birds": 6})
    for a, b in (("*/cats", "birds"), ("birds", "dogs")):
        found, files = bench.fetch(source=str(raw), a_folder=a, b_folder=b)
        for side, pattern in (("A", a), ("B", b)):
            folder = raw / pattern.replace("*", "x")
            held = {data for name, data in files.items() if name.partition("/")[0].endswith(side)}
            assert held == set(contents(folder).values())
            assert found.names[side] == folder.name


def halves(bench: Workbench) -> None:
    raw = bench.tree({"trainA": 2, "trainB": 2, "testA": 2, "testB": 2})
    whole = bench.fetch(source=str(raw))[0].counts
    assert whole == {"trainA": 2, "trainB": 2, "testA": 2, "testB": 2}
    pairs = bench.tree({"train": 2, "test": 1})
    for order in ("AB", "BA"):
        out = bench.new()
        fetch(out, FetchConfig(source=str(pairs), side_by_side=order))  # type: ignore[arg-type]
        for place in ("train", "test"):
            left = np.asarray(Image.open(out / f"{place}{order[0]}" / "0.png"))
            right = np.asarray(Image.open(out / f"{place}{order[1]}" / "0.png"))
            both = np.asarray(Image.open(pairs / place / "0.png"))
            assert (np.concatenate([left, right], axis=1) == both).all()


def share(bench: Workbench) -> None:
    raw = bench.tree({"A": 20, "B": 10})
    for changes, a, b in (({}, 2, 2), ({"test_share": 0.3}, 6, 3), ({"test_share": 0.55}, 11, 6)):
        counts = bench.fetch(source=str(raw), **changes)[0].counts
        assert (counts["testA"], counts["testB"]) == (a, b)
        assert (counts["trainA"], counts["trainB"]) == (20 - a, 10 - b)


def division(bench: Workbench) -> None:
    raw = bench.tree({"A": 20, "B": 20})
    first, again, other = (
        {name for name in bench.fetch(source=str(raw), seed=seed)[1] if name.startswith("testA/")}
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other and len(first) == len(other)


def datasets_url(bench: Workbench) -> None:
    asked: list[str] = []
    archive = bench.archive().read_bytes()

    def downloaded(url: str, path: Path, *rest: object) -> Downloaded:
        asked.append(reveal(url))
        path.write_bytes(archive)
        return Downloaded("", "")

    bench.patch.setattr(origins, "download", downloaded)
    bench.fetch(source="maps")
    bench.fetch(source="maps", datasets_url="https://mirror.example/sets/")
    bench.patch.setenv("CYCLEGAN_DATASETS_URL", "https://env.example")
    bench.fetch(source="maps")
    bench.fetch(source="maps", datasets_url="https://mirror.example/sets/")
    mine = "https://mirror.example/sets/maps.zip"
    assert asked == [f"{origins.OFFICIAL}/maps.zip", mine, "https://env.example/maps.zip", mine]


class Crowd(FolderStore):
    """Counts who reads at the same time; a read waits until `size` others do, so fewer never end."""

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__(folder)
        self.together = threading.Barrier(size)
        self.lock = threading.Lock()
        self.inside = self.most = 0

    def get(self, key: str, path: Path) -> None:
        if not key.endswith(".dir"):
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            time.sleep(0.02)
            self.together.wait(timeout=10)
            with self.lock:
                self.inside -= 1
        super().get(key, path)


def transfers(bench: Workbench) -> None:
    raw = bench.tree({"trainA": 6, "trainB": 3, "testA": 2, "testB": 1})
    remote = bench.new()
    version = dvc_version(remote, contents(raw))
    for size in (1, 3):
        crowd = Crowd(raw, size)
        bench.patch.setattr(storage, "open_store", lambda uri, crowd=crowd: crowd)
        bench.fetch(source="s3://bucket/prefix/", workers=size)
        assert crowd.most == size
        crowd = Crowd(remote, size)
        bench.patch.setattr(dvc_remote, "open_remote", lambda *args, crowd=crowd: crowd)
        bench.fetch(source="s3://bucket/remote", version=version, workers=size)
        assert crowd.most == size


def retries(bench: Workbench) -> None:
    for allowed in (0, 2):
        bench.web.requests.clear()
        bench.web.faults[:] = []
        for _ in range(9):
            bench.web.fail(status=503)
        with pytest.raises(CycleGANError, match="503"):
            bench.fetch(source=bench.web.url + "/x.zip", retries=allowed, retry_pause=0.001)
        assert len(bench.web.requests) == 1 + allowed


def silence(bench: Workbench) -> None:
    bench.web.files["/x.zip"] = bench.archive().read_bytes()
    bench.web.fail(wait=0.5)
    bench.fetch(source=bench.web.url + "/x.zip", retries=0)
    bench.web.fail(wait=0.5)
    with pytest.raises(CycleGANError, match=r"no answer within 0\.05 s"):
        bench.fetch(source=bench.web.url + "/x.zip", retries=0, timeout=0.05)


def pauses(bench: Workbench) -> None:
    slept: list[float] = []
    bench.patch.setattr(download, "time", SimpleNamespace(sleep=slept.append))
    bench.patch.setattr(download, "random", SimpleNamespace(uniform=lambda low, high: 1.0))
    for changes, expected in (({}, [0.5, 1.0, 2.0]), ({"retry_pause": 3.0}, [3.0, 6.0, 12.0])):
        slept.clear()
        bench.web.faults[:] = []
        for _ in range(4):
            bench.web.fail(status=503)
        with pytest.raises(CycleGANError, match="503"):
            bench.fetch(source=bench.web.url + "/x.zip", retries=3, **changes)
        assert slept == expected


def largest(bench: Workbench) -> None:
    path = bench.archive()
    bench.web.files["/x.zip"] = path.read_bytes()
    size, unpacked = path.stat().st_size, sum(map(len, bench.fetch(source=str(path))[1].values()))
    url = bench.web.url + "/x.zip"
    bench.fetch(source=url, max_bytes=size)
    with pytest.raises(CycleGANError, match="see max_bytes"):
        bench.fetch(source=url, max_bytes=size - 1)
    bench.fetch(source=str(path), max_bytes=unpacked)
    with pytest.raises(CycleGANError, match="unpacks to more than"):
        bench.fetch(source=str(path), max_bytes=unpacked - 1)


FETCH: dict[str, Check] = {
    "source": source,
    "version": data_version,
    "sha256": checksum,
    "a": two_folders,
    "b": two_folders,
    "a_folder": folders_by_pattern,
    "b_folder": folders_by_pattern,
    "side_by_side": halves,
    "test_share": share,
    "seed": division,
    "datasets_url": datasets_url,
    "workers": transfers,
    "retries": retries,
    "timeout": silence,
    "retry_pause": pauses,
    "max_bytes": largest,
}


# Preprocess


def load_size(bench: Workbench) -> None:
    raw = bench.tree()
    for size in (16, 24):
        prepared = bench.preprocess(raw, load_size=size)
        assert (prepared.height, prepared.width) == (size, size)
        with Image.open(raw / "trainA" / "0.png") as image:
            expected = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), int)
        assert np.abs(prepared.array("trainA")[0] - expected).max() <= 2


def load_width(bench: Workbench) -> None:
    raw = bench.tree()
    prepared = bench.preprocess(raw, load_size=16, load_width=24)
    assert (prepared.height, prepared.width) == (16, 24)
    with Image.open(raw / "trainA" / "0.png") as image:
        expected = np.asarray(image.resize((24, 16), Image.Resampling.BICUBIC), int)
    assert np.abs(prepared.array("trainA")[0] - expected).max() <= 2


def aspect(bench: Workbench) -> None:
    """Three bars, red, green and blue: squashed all three are seen, cropped only the middle one."""
    raw = bench.tree()
    bars = np.zeros((20, 60, 3), np.uint8)
    for channel in range(3):
        bars[:, 20 * channel : 20 * channel + 20, channel] = 255
    Image.fromarray(bars).save(raw / "trainA" / "0.png")
    for changes, places in (({}, [0, 1, 2]), ({"aspect": "crop"}, [1, 1, 1])):
        image = bench.preprocess(raw, **changes).array("trainA")[0]
        assert image[SIDE // 2, [2, SIDE // 2, -3]].argmax(axis=1).tolist() == places


def refusal(kept: dict[str, Any], size: tuple[int, int], refused: dict[str, Any]) -> Check:
    """An image of this size is packed with some fields, and refused for its size with others."""

    def check(bench: Workbench) -> None:
        raw = bench.tree()
        bench.picture(77, size).save(raw / "trainA" / "odd.png")
        assert not bench.preprocess(raw, **kept).manifest.rejected
        (rejected,) = bench.preprocess(raw, **refused).manifest.rejected
        assert rejected["file"] == "trainA/odd.png"
        assert rejected["reason"].startswith(f"{size[0]}x{size[1]} is ")

    return check


def levels(bench: Workbench) -> None:
    """Each pixel of an image of 16 bits against (value − black) / (white − black), clipped."""
    raw = bench.tree()
    values = np.random.default_rng(0).integers(500, 4096, (SIDE, SIDE)).astype(np.uint16)
    Image.fromarray(values).save(raw / "trainA" / "0.png")
    cut = tuple(np.percentile(values, (7, 93)))
    for changes, (black, white) in (
        ({}, (0, 65535)),
        ({"white": 4095}, (0, 4095)),
        ({"black": 900, "white": 4095}, (900, 4095)),
        ({"black": 900}, (900, 65535)),
        ({"percentile": 7}, cut),
    ):
        expected = np.clip((values.astype(float) - black) / (white - black), 0, 1) * 255
        found = bench.preprocess(raw, **changes).array("trainA")[0]
        assert np.abs(found - expected[..., None]).max() <= 0.51


def bad_share(bench: Workbench) -> None:
    raw = bench.tree()  # of 13 images
    for i in range(2):
        (raw / "trainA" / f"{i}.png").write_bytes(b"nothing")
    with pytest.raises(CycleGANError, match=r"2 of 13 .* max_bad_share = 0\.1"):
        bench.preprocess(raw)
    assert len(bench.preprocess(raw, max_bad_share=0.16).manifest.rejected) == 2
    with pytest.raises(CycleGANError, match=r"max_bad_share = 0\.15"):
        bench.preprocess(raw, max_bad_share=0.15)


def duplicates(bench: Workbench) -> None:
    raw = bench.tree()
    for side in "AB":
        (raw / f"train{side}" / "copy.png").write_bytes((raw / f"test{side}" / "1.png").read_bytes())
    for drop in (False, True):
        domains = bench.preprocess(raw, drop_test_duplicates=drop).domains
        assert {name: one["count"] for name, one in domains.items()} == {
            "trainA": 6 - drop, "trainB": 5 - drop, "testA": 2, "testB": 2
        }  # fmt: skip
        assert ("copy.png" in domains["trainB"]["names"]) is not drop


def pairing(bench: Workbench) -> None:
    raw = bench.tree()
    assert bench.preprocess(raw).paired
    assert not bench.preprocess(raw, pairs="no").paired


def threads(bench: Workbench) -> None:
    started = count_threads(bench.patch)
    raw = bench.tree()
    bench.preprocess(raw)
    bench.preprocess(raw, workers=2)
    bench.preprocess(raw, workers=1)  # in this thread
    assert started == [5, 2]


def called(bench: Workbench) -> None:
    """What is given travels with the packed images, also where the note of their origin is lost."""
    raw = bench.tree()
    (raw / "source.json").write_text('{"uri": "x.zip", "names": {"A": "cats", "B": "dogs"}}')
    plain = bench.preprocess(raw)
    named = bench.preprocess(raw, names="horses, zebras")
    assert (plain.names, named.names) == ({"A": "cats", "B": "dogs"}, {"A": "horses", "B": "zebras"})
    for prepared, expected in ((plain, "images"), (named, "horses → zebras")):
        (prepared.folder / "provenance.json").unlink()
        assert Prepared.open(prepared.folder).title == expected
    for given in ("horses", "horses,", "a,a", "a,b,c"):
        with pytest.raises(UsageError, match="two different names"):
            PreprocessConfig(names=given)
    for given in ("h" * 61 + ",zebras", "horses," + "z" * 10**6):
        with pytest.raises(UsageError, match="60 characters") as refused:
            PreprocessConfig(names=given)
        assert len(str(refused.value)) < 200
    assert PreprocessConfig(names="h" * 60 + ",zebras").domain_names["A"] == "h" * 60


def kept_channels(bench: Workbench) -> None:
    """Four channels of 16 bits to the last bit; one for B where it is said; 8 of the 16 bits where not."""
    raw = bench.new()
    rng = np.random.default_rng(0)
    written = {}
    for subset in ("trainA", "trainB", "testA", "testB"):
        (raw / subset).mkdir(parents=True)
        for i in range(2):
            shape = (SIDE, SIDE, 4) if subset[-1] == "A" else (SIDE, SIDE)
            written[subset, i] = rng.integers(0, 65536, shape, np.uint16)
            tifffile.imwrite(
                raw / subset / f"{i}.tif",
                written[subset, i],
                photometric="minisblack",
                planarconfig="contig",
            )
    deep = bench.preprocess(raw, channels="4, 1", bits=16)
    assert {d: str(kind) for d, kind in deep.kinds.items()} == {
        "A": "4 channels of 16 bits",
        "B": "1 channel of 16 bits",
    }
    flat = bench.preprocess(raw, channels="4,1")
    for (subset, i), values in written.items():
        assert (deep.array(subset)[i] == values.reshape(SIDE, SIDE, -1)).all()
        nearest = np.abs(flat.array(subset)[i] - values.reshape(SIDE, SIDE, -1) / 257)
        assert flat.array(subset).dtype == np.uint8 and nearest.max() <= 0.51
    with pytest.raises(CycleGANError, match="it has 4 channels, and channels = 2 asks for 2"):
        bench.preprocess(raw, channels="2,1")
    for given in ("", "0", "65", "1,2,3", "x"):
        with pytest.raises(UsageError, match="channels = "):
            PreprocessConfig(channels=given)
    with pytest.raises(UsageError, match="bits = 12: it must be 8 or 16"):
        PreprocessConfig(bits=12)
    for spelt in ({"channels": 4, "bits": "16"}, {"channels": "4", "bits": 16}):  # as in YAML, as in a form
        assert config_from(PreprocessConfig, spelt, "here").kinds()["B"] == PixelKind(4, 16)


def recorded_version(bench: Workbench) -> None:
    raw, version = bench.tree(), "a" * 32 + ".dir"
    assert bench.preprocess(raw).version != version
    assert bench.preprocess(raw, version=version).manifest.version == version


PREPROCESS: dict[str, Check] = {
    "load_size": load_size,
    "load_width": load_width,
    "aspect": aspect,
    "min_size": refusal({"min_size": 12}, (40, 12), {}),
    "max_pixels": refusal({}, (60, 50), {"max_pixels": 2999}),
    "black": levels,
    "white": levels,
    "percentile": levels,
    "channels": kept_channels,
    "bits": kept_channels,
    "max_bad_share": bad_share,
    "drop_test_duplicates": duplicates,
    "pairs": pairing,
    "workers": threads,
    "names": called,
    "version": recorded_version,
}


@pytest.mark.parametrize(("config", "checks"), [(FetchConfig, FETCH), (PreprocessConfig, PREPROCESS)])
def test_no_field_is_without_a_test_of_what_it_does(config: type, checks: dict[str, Check]) -> None:
    assert {one.name for one in fields(config)} == checks.keys()


def once(checks: dict[str, Check]) -> list[str]:
    """The first field of each check."""
    return list({check: name for name, check in reversed(checks.items())}.values())


@pytest.mark.parametrize("name", once(FETCH))
def test_a_field_of_fetch_changes_what_it_says(name: str, bench: Workbench) -> None:
    FETCH[name](bench)


@pytest.mark.parametrize("name", once(PREPROCESS))
def test_a_field_of_preprocess_changes_what_it_says(name: str, bench: Workbench) -> None:
    PREPROCESS[name](bench)
