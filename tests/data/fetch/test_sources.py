"""Fetch, from every kind of source."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from cyclegan.data.config import FetchConfig, PreprocessConfig
from cyclegan.data.fetch.archives import pack_zip
from cyclegan.data.fetch.fetch import Source, fetch
from cyclegan.data.fetch.origins import OFFICIAL_NAMES
from cyclegan.data.prepared import Prepared
from cyclegan.data.preprocess.preprocess import preprocess
from cyclegan.data.version import directory_md5
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.storage import open_store

MakeTree = Callable[..., Path]
COUNTS = {"trainA": 5, "trainB": 4, "testA": 2, "testB": 2}
QUICK: dict[str, Any] = {"retries": 2, "retry_pause": 0.001, "timeout": 1.0}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "source.json"
    }


def check(out: Path, source: Source, original: Path) -> None:
    """What was fetched is the original, its record tells the truth and nothing lies beside it."""
    assert tree(out) == tree(original)
    assert json.loads((out / "source.json").read_text()) | {"served_by": ""} == vars(source)
    assert source.version == directory_md5(original)
    assert source.counts == COUNTS
    assert {p.name for p in out.iterdir()} == {*COUNTS, "source.json"}


@pytest.fixture
def original(tmp_path: Path, make_tree: MakeTree) -> Path:
    return make_tree(tmp_path / "original")


@pytest.fixture
def archive(tmp_path: Path, original: Path) -> bytes:
    pack_zip(original, tmp_path / "x.zip")
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").unlink()
    return data


def test_a_folder(tmp_path: Path, original: Path) -> None:
    for uri in (str(original), original.as_uri()):
        source = fetch(tmp_path / "out", FetchConfig(source=uri))
        check(tmp_path / "out", source, original)
        assert source.uri == str(original)
        assert source.paired
        assert source.sha256 == ""


def test_an_archive(tmp_path: Path, original: Path, archive: bytes) -> None:
    path = tmp_path / "maps.zip"
    path.write_bytes(archive)
    source = fetch(tmp_path / "out", FetchConfig(source=str(path)))
    check(tmp_path / "out", source, original)
    assert source.sha256 == hashlib.sha256(archive).hexdigest()
    fetch(tmp_path / "out", FetchConfig(source=str(path), sha256=source.sha256.upper()))
    with pytest.raises(CycleGANError, match=f"has the SHA-256 {source.sha256}, not 0000"):
        fetch(tmp_path / "out", FetchConfig(source=str(path), sha256="0" * 64))
    check(tmp_path / "out", source, original)


def test_a_sha256_of_what_is_not_an_archive_is_refused(
    tmp_path: Path, original: Path, s3_bucket: str
) -> None:
    open_store(f"s3://{s3_bucket}").write("set/A/1.png", b"x")
    remote = tmp_path / "remote" / "files" / "md5" / "00"
    remote.mkdir(parents=True)
    (remote / f"{'0' * 30}.dir").write_text("[]")
    sources: list[dict[str, str]] = [
        {"source": str(original)},
        {"source": "synthetic:city?train=2&test=1&size=32"},
        {"a": str(original / "trainA"), "b": str(original / "trainB")},
        {"source": f"s3://{s3_bucket}/set/"},
        {"source": str(tmp_path / "remote"), "version": f"{'0' * 32}.dir"},
    ]
    for source in sources:
        with pytest.raises(UsageError, match=r"sha256 belongs to an archive, but .* is not one: leave"):
            fetch(tmp_path / "out", FetchConfig(**source, sha256="0" * 64))  # type: ignore[arg-type]


def test_the_drawn_city(tmp_path: Path) -> None:
    source = fetch(tmp_path / "1", FetchConfig(source="synthetic:city?train=2&test=1&size=32&seed=5"))
    assert source.uri == "synthetic:city?train=2&test=1&size=32&seed=5"
    assert source.names == {"A": "aerial", "B": "map"}
    assert source.counts == {"trainA": 2, "trainB": 2, "testA": 1, "testB": 1}
    assert source.paired
    again = fetch(tmp_path / "2", FetchConfig(source=source.uri, version=source.version))
    assert again == source
    with pytest.raises(CycleGANError, match=f"has the data version {source.version}, not"):
        fetch(tmp_path / "3", FetchConfig(source=source.uri, version="0" * 32 + ".dir"))
    assert not (tmp_path / "3").exists()


@pytest.mark.parametrize(
    "uri", ["synthetic:town", "synthetic:city?seed=x", "synthetic:city?colour=1", "synthetic:city?seed=-1"]
)
def test_no_such_synthetic_dataset(tmp_path: Path, uri: str) -> None:
    with pytest.raises(UsageError, match="synthetic"):
        fetch(tmp_path / "out", FetchConfig(source=uri))


def test_two_plain_folders(tmp_path: Path, make_tree: MakeTree) -> None:
    make_tree(tmp_path, {"photos": [f"x/{i}.png" for i in range(20)], "paintings": 11})
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    config = FetchConfig(a=str(tmp_path / "photos"), b=str(tmp_path / "paintings"), test_share=0.2)
    source = fetch(tmp_path / "out", config)
    assert source.counts == {"trainA": 16, "trainB": 9, "testA": 4, "testB": 2}
    assert source.uri == f"{tmp_path}/photos + {tmp_path}/paintings"
    everything = {hashlib.md5(data).hexdigest() for data in tree(tmp_path / "out").values()}
    assert len(everything) == 31
    assert fetch(tmp_path / "again", config).version == source.version


def test_two_plain_folders_need_images(tmp_path: Path, make_tree: MakeTree) -> None:
    make_tree(tmp_path, {"photos": 3})
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    for b, message in (("texts", r"holds no images \(1 other files\)"), ("absent", "no folder")):
        with pytest.raises(UsageError, match=message):
            fetch(tmp_path / "out", FetchConfig(a=str(tmp_path / "photos"), b=str(tmp_path / b)))


def test_https_archive_over_a_bad_line(tmp_path: Path, web: Any, original: Path, archive: bytes) -> None:
    web.files["/data/x.zip"] = archive
    web.fail(status=503)
    for _ in range(3):
        web.fail(cut=len(archive) // 5)
    url = web.url.replace("://", "://me:secret@") + "/data/x.zip?X-Amz-Signature=secret"
    source = fetch(tmp_path / "out", FetchConfig(source=url, **QUICK))
    check(tmp_path / "out", source, original)
    assert source.uri == web.url + "/data/x.zip"
    assert source.sha256 == hashlib.sha256(archive).hexdigest()
    assert "secret" not in (tmp_path / "out" / "source.json").read_text()


@pytest.mark.parametrize("name", OFFICIAL_NAMES)
def test_datasets_by_name(
    tmp_path: Path, web: Any, archive: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as plain, zipfile.ZipFile(buffer, "w") as nested:
        for member in plain.namelist():
            nested.writestr(f"{name}/{member}", plain.read(member))
    web.files[f"/sets/{name}.zip"] = buffer.getvalue()
    if name == "maps":
        monkeypatch.setenv("CYCLEGAN_DATASETS_URL", web.url + "/sets/")
        source = fetch(tmp_path / "out", FetchConfig(source=name))
    else:
        source = fetch(tmp_path / "out", FetchConfig(source=name, datasets_url=web.url + "/sets"))
    assert source.counts == COUNTS
    assert source.uri == f"{web.url}/sets/{name}.zip"


def test_a_name_mistyped(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'monet2photo'"):
        fetch(tmp_path / "out", FetchConfig(source="monet2foto"))


@pytest.mark.parametrize("status", [403, 404, 416, 429, 500, 503])
def test_a_failed_download_leaves_the_former_data(
    tmp_path: Path, web: Any, original: Path, archive: bytes, status: int
) -> None:
    out = tmp_path / "out"
    source = fetch(out, FetchConfig(source=str(original)))
    web.files["/x.zip"] = archive
    for _ in range(9):
        web.fail(status=status)
    with pytest.raises(CycleGANError, match=rf"/x\.zip.*{status}"):
        fetch(out, FetchConfig(source=web.url + "/x.zip", **QUICK))
    check(out, source, original)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["original", "out"]


def test_an_archive_cut_for_good(tmp_path: Path, web: Any, archive: bytes) -> None:
    """The server says nothing of the length, so only the archive itself can tell that its end is missing."""
    web.length = False
    web.files["/x.zip"] = archive[: len(archive) // 2]
    with pytest.raises(CycleGANError, match=rf"{web.url}/x\.zip is damaged or incomplete"):
        fetch(tmp_path / "out", FetchConfig(source=web.url + "/x.zip", **QUICK))
    assert not list(tmp_path.glob("*out*"))


def test_an_s3_prefix_and_an_s3_archive(
    tmp_path: Path, s3_bucket: str, original: Path, archive: bytes
) -> None:
    store = open_store(f"s3://{s3_bucket}/sets")
    for name, data in tree(original).items():
        store.write(f"plain/top/{name}", data)
    store.write("plain/top/notes.txt", b"x")
    store.write("x.zip", archive)
    for uri in (
        f"s3://{s3_bucket}/sets/plain/",
        f"s3://{s3_bucket}/sets/plain/top",
        f"s3://{s3_bucket}/sets/x.zip",
    ):
        source = fetch(tmp_path / "out", FetchConfig(source=uri))
        check(tmp_path / "out", source, original)
        assert source.uri == uri.rstrip("/")


def test_a_version_in_a_cloud_versioned_remote(tmp_path: Path, s3_bucket: str, original: Path) -> None:
    """DVC keeps such data under their own names; no object is called after the version."""
    uri = f"s3://{s3_bucket}/cloud/data"
    (original / "notes.txt").write_text("part of the version")
    store = open_store(uri)
    for name, data in tree(original).items():
        store.write(name, data)
    version = directory_md5(original)
    source = fetch(tmp_path / "out", FetchConfig(source=uri, version=version))
    assert source.version == version == directory_md5(tmp_path / "out")
    store.write("trainA/new.png", b"later")
    with pytest.raises(CycleGANError, match=f"has the data version [0-9a-f]{{32}}.dir, not {version}"):
        fetch(tmp_path / "later", FetchConfig(source=uri, version=version))
    with pytest.raises(CycleGANError, match="does not hold the data version"):
        fetch(tmp_path / "none", FetchConfig(source=f"s3://{s3_bucket}/other", version=version))
    assert not (tmp_path / "later").exists()


def test_s3_failures(tmp_path: Path, s3_bucket: str) -> None:
    for uri, message in (
        (f"s3://{s3_bucket}/nothing/", "no objects below"),
        (f"s3://{s3_bucket}/absent.zip", "no s3://.*absent.zip"),
        ("s3://no-such-bucket-here/x/", "no bucket"),
    ):
        with pytest.raises(CycleGANError, match=message):
            fetch(tmp_path / "out", FetchConfig(source=uri))
    open_store(f"s3://{s3_bucket}").write("x.zip/trainA/a.png", b"x")
    assert not (tmp_path / "out").exists()


def test_a_hostile_archive_changes_nothing(tmp_path: Path, original: Path) -> None:
    out = tmp_path / "out"
    source = fetch(out, FetchConfig(source=str(original)))
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as evil:
        evil.writestr("trainA/1.png", b"x")
        evil.writestr("../evil.png", b"x")
    with pytest.raises(CycleGANError, match=r"evil\.zip: the member '\.\./evil\.png' leads outside"):
        fetch(out, FetchConfig(source=str(tmp_path / "evil.zip")))
    check(out, source, original)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.zip", "original", "out"]


def test_other_peoples_folders_are_not_replaced(tmp_path: Path, original: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"'thesis\.tex'"):
        fetch(home, FetchConfig(source=str(original)))
    with pytest.raises(UsageError, match="is a file"):
        fetch(home / "thesis.tex", FetchConfig(source=str(original)))
    assert (home / "thesis.tex").read_text() == "years of work"


def test_a_linked_result_stays_a_link(tmp_path: Path, original: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "large disk")
    source = fetch(tmp_path / "out", FetchConfig(source=str(original)))
    assert (tmp_path / "out").is_symlink()
    check(tmp_path / "large disk", source, original)


def test_fetching_a_folder_into_itself_keeps_it(tmp_path: Path, original: Path) -> None:
    source = fetch(original, FetchConfig(source=str(original)))
    assert source.counts == COUNTS
    assert directory_md5(original) == source.version


def test_a_folder_around_the_result_is_fetched_without_it(
    tmp_path: Path, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path, {"photos": 5, "paintings": 5})
    monkeypatch.chdir(tmp_path)
    out = Path("datasets/mine")
    first = fetch(out, FetchConfig(source="."))
    make_tree(tmp_path, {"photos": 9}, seed=1)
    second = fetch(out, FetchConfig(source="."))
    assert (first.counts["trainA"], second.counts["trainA"]) == (4, 4)
    assert (first.counts["trainB"], second.counts["trainB"]) == (4, 8)
    assert second.names == {"A": "paintings", "B": "photos"}
    shutil.rmtree("datasets")
    for _ in range(2):  # as `run` does, whose other results are pictures too
        third = fetch(Path("runs/mine/raw"), FetchConfig(source="."), within=Path("runs/mine"))
        assert third == second
        make_tree(tmp_path / "runs" / "mine", {"model": 2})


@pytest.mark.parametrize(
    ("a", "b", "out", "message"),
    [
        ("photos", "photos", "out", "a = photos and b = photos overlap"),
        ("photos", "photos/x", "out", "overlap: pass two that have no images in common"),
        ("link/x", "photos", "out", "a = link/x and b = photos overlap"),
        (
            "photos",
            "paintings",
            "photos/out",
            "photos/out is inside a = photos, the images to fetch: write to",
        ),
        ("photos", "paintings", "paintings", "paintings is inside b = paintings"),
    ],
)
def test_two_folders_and_the_result_lie_apart(
    tmp_path: Path,
    make_tree: MakeTree,
    monkeypatch: pytest.MonkeyPatch,
    a: str,
    b: str,
    out: str,
    message: str,
) -> None:
    make_tree(tmp_path, {"photos/x": 5, "paintings/testA": 5})
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("photos")
    with pytest.raises(UsageError, match=message):
        fetch(Path(out), FetchConfig(a=a, b=b))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "paintings", "photos"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"a": "x"},
        {"source": ""},
        {"test_share": 0.0},
        {"sha256": "xyz"},
        {"version": "latest"},
        {"workers": 0},
        {"retries": -1},
        {"timeout": 0.0},
    ],
)
def test_parameters_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        FetchConfig(**wrong)


def test_a_full_disk_leaves_the_former_data(tmp_path: Path, original: Path, archive: bytes) -> None:
    out = tmp_path / "out"
    source = fetch(out, FetchConfig(source=str(original)))
    large = tmp_path / "large"
    shutil.copytree(original, large)
    (large / "trainA" / "0.png").write_bytes(bytes(300_000))
    pack_zip(large, tmp_path / "large.zip")
    script = """
import resource, sys
from pathlib import Path
from cyclegan.data.config import FetchConfig
from cyclegan.data.fetch.fetch import fetch
from cyclegan.errors import CycleGANError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for source in sys.argv[2:]:
    try:
        fetch(Path(sys.argv[1]), FetchConfig(source=source))
    except CycleGANError as error:
        print(error)
"""
    command = [sys.executable, "-B", "-c", script, str(out), str(large), str(tmp_path / "large.zip")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("File too large") == 2
    check(out, source, original)
    assert {p.name for p in tmp_path.iterdir()} == {"original", "out", "large", "large.zip"}


def test_the_domains_keep_their_names(tmp_path: Path, make_tree: MakeTree) -> None:
    """From two folders, through the note of fetch, to what reports call the dataset."""
    make_tree(tmp_path, {"horses": 20, "zebras": 20})
    config = FetchConfig(a=str(tmp_path / "horses"), b=str(tmp_path / "zebras"))
    assert fetch(tmp_path / "data", config).names == {"A": "horses", "B": "zebras"}
    for out in ("copy", "data"):  # what was fetched is a source too, even in its own place
        assert fetch(tmp_path / out, FetchConfig(source=str(tmp_path / "data"))).names["A"] == "horses"
    preprocess(tmp_path / "data", tmp_path / "out", PreprocessConfig(load_size=16))
    assert Prepared.open(tmp_path / "out").title == "horses → zebras"


def test_folders_with_names_that_are_not_utf8(
    tmp_path: Path, make_tree: MakeTree, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "cyclegan")  # xdist cannot send such names from one process to another
    odd = make_tree(tmp_path / os.fsdecode(b"odd\xff"), {os.fsdecode(b"ph\xffotos"): 3, "zebras": 3})
    shown = rf"{tmp_path}/odd\udcff"
    parts = {"a": str(odd / os.fsdecode(b"ph\xffotos")), "b": str(odd / "zebras")}
    for config, uri in (
        (FetchConfig(**parts), rf"{shown}/ph\udcffotos + {shown}/zebras"),  # type: ignore[arg-type]
        (FetchConfig(source=str(odd)), shown),
    ):
        source = fetch(tmp_path / "out", config)
        assert (source.uri, source.names) == (uri, {"A": r"ph\udcffotos", "B": "zebras"})
        assert json.loads((tmp_path / "out" / "source.json").read_text())["uri"] == uri


@pytest.mark.parametrize("order", ["AB", "BA"])
@pytest.mark.parametrize("packed", [False, True])
def test_pairs_side_by_side(tmp_path: Path, order: Literal["AB", "BA"], packed: bool) -> None:
    raw = tmp_path / "pairs"
    (raw / "train").mkdir(parents=True)
    (raw / "val").mkdir()
    both = Image.new("RGB", (40, 20), "red")
    both.paste("blue", (20, 0, 40, 20))
    for name in ("train/1.png", "train/2.png", "val/3.png"):
        both.save(raw / name)
    source = raw
    if packed:
        pack_zip(raw, tmp_path / "pairs.zip")
        source = tmp_path / "pairs.zip"
    found = fetch(tmp_path / "out", FetchConfig(source=str(source), side_by_side=order))
    assert found.counts == {"trainA": 2, "trainB": 2, "testA": 1, "testB": 1}
    assert found.paired
    left, right = order
    assert Image.open(tmp_path / "out" / f"train{left}" / "1.png").getpixel((3, 3)) == (255, 0, 0)
    assert Image.open(tmp_path / "out" / f"test{right}" / "3.png").getpixel((3, 3)) == (0, 0, 255)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*COUNTS, "source.json"}


def test_pairs_above_pillows_limit_are_cut_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "pairs").mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (40, 20)).save(tmp_path / "pairs" / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 20 - 1)
    fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "pairs"), side_by_side="AB"))
    assert [str(warning.message) for warning in recwarn] == []


def test_what_is_not_side_by_side(tmp_path: Path) -> None:
    raw = tmp_path / "pairs"
    raw.mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (41, 20)).save(raw / name)
    with pytest.raises(CycleGANError, match=r"'\d\.png' is 41 pixels wide, not two halves"):
        fetch(tmp_path / "out", FetchConfig(source=str(raw), side_by_side="AB"))
    with pytest.raises(UsageError, match="side_by_side takes one source"):
        FetchConfig(source=str(raw), side_by_side="AB", a_folder="x", b_folder="y")


def test_folders_chosen_in_an_archive(tmp_path: Path, make_tree: MakeTree) -> None:
    pack_zip(make_tree(tmp_path / "raw", {"cats/young": 4, "dogs": 4, "birds": 3}), tmp_path / "x.zip")
    with pytest.raises(UsageError, match=r"birds/ \(3\).* --a-folder and --b-folder"):
        fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "x.zip")))
    config = FetchConfig(source=str(tmp_path / "x.zip"), a_folder="cats/*", b_folder="dogs")
    source = fetch(tmp_path / "out", config)
    assert source.counts == {"trainA": 3, "trainB": 3, "testA": 1, "testB": 1}
    assert source.names == {"A": "young", "B": "dogs"}


def test_a_link_that_leads_to_itself_costs_nothing(tmp_path: Path, original: Path) -> None:
    (original / "trainA" / "loop.png").symlink_to(original / "trainA" / "loop.png")
    (original / "loop").symlink_to(original / "loop")
    assert fetch(tmp_path / "out", FetchConfig(source=str(original))).counts == COUNTS


def test_what_is_not_a_file_is_not_an_image(tmp_path: Path, original: Path) -> None:
    """A pipe would be waited for, for ever."""
    os.mkfifo(original / "trainA" / "pipe.jpg")
    (original / "testB" / "linked.jpg").symlink_to(original / "trainA" / "pipe.jpg")
    assert fetch(tmp_path / "out", FetchConfig(source=str(original))).counts == COUNTS
    (original / "testB" / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(CycleGANError, match=r"Cannot copy .*/testB/gone\.jpg .*: No such file"):
        fetch(tmp_path / "out", FetchConfig(source=str(original)))


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = ("lost+found", ".Trash-0", "System Volume Information")
    closed = {str(original / name) for name in ("trainA/more", *private)}
    look = os.scandir

    def refusing(path: Any) -> Any:  # permissions do not stop root, who may run this
        if str(path) in closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for name in private:
        (original / name).mkdir()
    fetch(tmp_path / "out", FetchConfig(source=str(original)))
    (original / "trainA" / "more").mkdir()
    for config in (
        FetchConfig(source=str(original)),
        FetchConfig(a=str(original / "trainA"), b=str(original / "trainB")),
    ):
        with pytest.raises(CycleGANError, match=r"^Cannot read .*/trainA/more: Permission denied\.$"):
            fetch(tmp_path / "new", config)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("start", "kind"),
    [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\7", "RAR"), (b"\x28\xb5\x2f\xfd", "Zstandard")],
)
def test_archives_of_other_kinds(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "x").write_bytes(start + bytes(50))
    with pytest.raises(CycleGANError, match=f"x is a {kind} archive: unpack it and pass the folder"):
        fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "x")))


@pytest.mark.parametrize(
    ("offset", "value", "message"), [(8, 1, "encrypted: unpack it"), (10, 9, "compressed by Deflate64")]
)
def test_zips_of_other_kinds(tmp_path: Path, archive: bytes, offset: int, value: int, message: str) -> None:
    """Bytes of the first central header: flags at 8, the method at 10."""
    data = bytearray(archive)
    data[data.index(b"PK\1\2") + offset] = value
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(CycleGANError, match=rf"x\.zip is {message}"):
        fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "x.zip")))


def test_a_self_extracting_zip(tmp_path: Path, original: Path, archive: bytes) -> None:
    (tmp_path / "setup.exe").write_bytes(b"MZ" + bytes(300) + archive)
    check(
        tmp_path / "out", fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "setup.exe"))), original
    )


def test_the_host_that_sent_an_archive_is_recorded(web: Any, archive: bytes, tmp_path: Path) -> None:
    web.files["/set.zip"] = archive
    elsewhere = web.url.replace("127.0.0.1", "localhost")
    web.fail(status=302, headers={"Location": f"{elsewhere}/set.zip"})
    source = fetch(tmp_path / "out", FetchConfig(source=web.url + "/moved.zip"))
    assert source.served_by == elsewhere.removeprefix("http://")
    assert json.loads((tmp_path / "out" / "source.json").read_text())["served_by"] == source.served_by
