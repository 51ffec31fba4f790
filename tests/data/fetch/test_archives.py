"""Archives that were made to hurt, and honest ones in odd shapes."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cyclegan.data.fetch import archives
from cyclegan.data.fetch.archives import Limits, pack_zip, safe_name, unpack, unpack_zip
from cyclegan.errors import CycleGANError, UsageError


def make_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """An empty folder to unpack into, in a folder of its own where anything that gets out is seen."""
    target = tmp_path / "outer" / "box"
    target.mkdir(parents=True)
    return target


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", ["zip", "stored.zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_honest_archives(tmp_path: Path, box: Path, kind: str) -> None:
    members = {"x/trainA/1.jpg": b"one", "x/trainB/ä b.png": b"two", "x/read.me": b"three"}
    path = tmp_path / f"data.{kind}"
    if kind.endswith("zip"):
        make_zip(path, members, zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED)
    else:
        make_tar(path, members, {"tar": "w", "tgz": "w:gz"}.get(kind, "w:" + kind.rpartition(".")[2]))
    assert sorted(unpack(path, box)) == sorted(members)
    assert files(box) == {name: members[name] for name in members if not name.endswith(".me")}


def test_the_content_decides_not_the_name(tmp_path: Path, box: Path) -> None:
    unpack(make_zip(tmp_path / "really_a_zip.tar.gz", {"1.jpg": b"x"}), box)
    assert files(box) == {"1.jpg": b"x"}


EVIL_NAMES = [
    "../evil.jpg",
    "a/../../evil.jpg",
    "/tmp/evil.jpg",
    "//evil.jpg",
    "..\\evil.jpg",
    "\\evil.jpg",
    "C:\\evil.jpg",
    "C:evil.jpg",
    "a/..",
]


@pytest.mark.parametrize("name", EVIL_NAMES)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_outside(
    tmp_path: Path, box: Path, make: Callable[[Path, dict[str, bytes]], Path], name: str
) -> None:
    path = make(tmp_path / "evil.archive", {"ok.jpg": b"x", name: b"evil"})
    with pytest.raises(CycleGANError, match="leads outside") as error:
        unpack(path, box)
    assert "evil.archive" in str(error.value)
    assert list(box.parent.iterdir()) == [box]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("a\\b.jpg", "a/b.jpg"),
        ("a\nb\x1b[31m.jpg", "a_b_[31m.jpg"),
        ("caf\udce9.jpg", "café.jpg"),
        ("..a/b..jpg", "..a/b..jpg"),
        ("", None),
        (".", None),
    ],
)
def test_safe_names(name: str, safe: str | None) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_not_made(tmp_path: Path, box: Path, kind: bytes) -> None:
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("trainA/link.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
        through = tarfile.TarInfo("trainA/1.jpg")
        through.size = 1
        archive.addfile(through, io.BytesIO(b"x"))
    assert unpack(path, box) == ["trainA/1.jpg"]
    assert files(box) == {"trainA/1.jpg": b"x"}


def test_writing_through_a_linked_folder(tmp_path: Path, box: Path) -> None:
    path = tmp_path / "through.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("trainA")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        info = tarfile.TarInfo("trainA/evil.jpg")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    unpack(path, box)
    assert files(box) == {"trainA/evil.jpg": b"evil"}
    assert not (tmp_path / "evil.jpg").exists()


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4")
def test_a_link_that_is_there_already_leads_no_tar_outside(tmp_path: Path, box: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (box / "trainA").symlink_to(outside)
    path = make_tar(tmp_path / "linked.tar", {"trainA/evil.jpg": b"evil"})
    with pytest.raises(CycleGANError, match=r"linked.tar: the member 'trainA/evil.jpg' leads outside"):
        unpack(path, box)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_not_made(tmp_path: Path, box: Path, mode: int) -> None:
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link.jpg")
        info.external_attr = (mode | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert unpack(path, box) == []
    assert files(box) == {}


def test_a_bomb_is_stopped_by_what_it_declares(
    tmp_path: Path, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "ALLOWANCE", 1 << 20)
    path = make_zip(tmp_path / "bomb.zip", {"zeros.png": bytes(20 << 20)})
    with pytest.raises(CycleGANError, match="bomb"):
        unpack(path, box)
    assert files(box) == {}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_stopped_by_what_it_becomes(
    tmp_path: Path, box: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The declared size is a lie, or is spread over many members."""
    monkeypatch.setattr(archives, "ALLOWANCE", 1 << 20)
    path = tmp_path / f"bomb.{kind}"
    members = {f"{i}.png": bytes(1 << 20) for i in range(20)}
    if kind == "zip":
        make_zip(path, members)
        data = path.read_bytes()  # every declared size becomes 1 byte
        path.write_bytes(data.replace((1 << 20).to_bytes(4, "little"), (1).to_bytes(4, "little")))
        expected = "bomb|damaged"
    else:
        make_tar(path, members, "w:gz")
        expected = "bomb"
    with pytest.raises(CycleGANError, match=expected):
        unpack(path, box)
    assert sum(map(len, files(box).values())) < 8 << 20


def test_a_bomb_among_the_files_that_nobody_wants(
    tmp_path: Path, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "ALLOWANCE", 1 << 20)
    with pytest.raises(CycleGANError, match="bomb"):
        unpack(make_tar(tmp_path / "b.tgz", {"readme.txt": bytes(20 << 20), "1.png": b"x"}, "w:gz"), box)


def test_a_header_of_megabytes(tmp_path: Path, box: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
    path = tmp_path / "long.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf() + bytes(64 << 20))
    with pytest.raises(CycleGANError, match="header of more"):
        unpack(path, box)


def test_limits(tmp_path: Path, box: Path) -> None:
    path = make_zip(tmp_path / "many.zip", {f"{i}.png": b"12345" for i in range(10)})
    with pytest.raises(CycleGANError, match="more than 9 members"):
        unpack(path, box, limits=Limits(max_files=9))
    with pytest.raises(CycleGANError, match="more than 49 bytes"):
        unpack(path, box, limits=Limits(max_bytes=49))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(tmp_path: Path, box: Path) -> None:
    path = tmp_path / "twice.zip"
    for second, fine in ((b"same", True), (b"other", False)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/1.png", b"same")
            archive.writestr("a/./1.png" if fine else "a/1.png", second)
        folder = box / str(fine)
        folder.mkdir()
        if fine:
            unpack(path, folder)
            assert files(folder) == {"a/1.png": b"same"}
        else:
            with pytest.raises(CycleGANError, match="twice with different content"):
                unpack(path, folder)


def test_a_file_that_is_a_folder_too(tmp_path: Path, box: Path) -> None:
    with pytest.raises(CycleGANError, match="cannot be written"):
        unpack(make_zip(tmp_path / "x.zip", {"a.png": b"1", "a.png/b.png": b"2"}), box)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_name_that_is_too_long(
    tmp_path: Path, box: Path, make: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    with pytest.raises(CycleGANError, match="File name too long"):
        unpack(make(tmp_path / "long.archive", {"x" * 300 + ".png": b"1"}), box)


def test_names_that_are_no_utf8(tmp_path: Path, box: Path) -> None:
    tar = tmp_path / "latin.tar"
    with tarfile.open(tar, "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("trainA/caf\xe9.png")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    unpack(tar, box)
    assert files(box) == {"trainA/café.png": b"x"}
    path = make_zip(tmp_path / "raw.zip", {"trainA/QQQ.png": b"y"})
    path.write_bytes(path.read_bytes().replace(b"QQQ", b"\xff\xfe\x80"))
    (name,) = unpack(path, box)
    assert (box / name).read_bytes() == b"y"
    name.encode("utf-8")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_archives_cut_short(tmp_path: Path, box: Path, kind: str) -> None:
    members = {f"{i}.png": os.urandom(700) for i in range(20)}
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        make_zip(path, members)
    else:
        make_tar(path, members, "w" if kind == "tar" else "w:" + kind[4:])
    whole = path.read_bytes()
    end = len(members) * 1536 if kind == "tar" else len(whole)  # a tar's last blocks are padding
    for cut in (1, 2, 4, 100, end // 3, end // 2, end - 700, end - 1):
        path.write_bytes(whole[:cut])
        folder = box / str(cut)
        folder.mkdir()
        with pytest.raises(CycleGANError, match="damaged or incomplete") as error:
            unpack(path, folder)
        assert path.name in str(error.value)


@pytest.mark.parametrize("data", [b"", b"PK", b"hello", b"<html></html>", b"\x1f\x8b\x08" + bytes(50)])
def test_what_is_no_archive(tmp_path: Path, box: Path, data: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    with pytest.raises(CycleGANError, match=r"x\.zip"):
        unpack(path, box)


def test_an_encrypted_member(tmp_path: Path, box: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"1.png": b"x" * 20}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(CycleGANError, match="encrypted"):
        unpack(path, box)


def test_packing_is_deterministic_and_comes_back(tmp_path: Path, make_tree: Callable[..., Path]) -> None:
    first, second = make_tree(tmp_path / "1"), make_tree(tmp_path / "2")
    for folder in (first, second):
        (folder / "source.json").write_text("{}")
        (folder / "empty.txt").write_bytes(b"")
    os.utime(second / "source.json", (0, 0))
    (second / "source.json").chmod(0o600)
    pack_zip(first, tmp_path / "1.zip")
    pack_zip(second, tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    assert all(
        info.compress_type == zipfile.ZIP_STORED for info in zipfile.ZipFile(tmp_path / "1.zip").infolist()
    )
    unpack_zip(tmp_path / "1.zip", tmp_path / "back")
    assert files(tmp_path / "back") == files(first)


def test_packing_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        pack_zip(tmp_path / "absent", tmp_path / "x.zip")


def test_unpacking_a_packed_folder_trusts_it_no_more(tmp_path: Path, box: Path) -> None:
    with pytest.raises(CycleGANError, match="not a plain file"):
        unpack_zip(make_zip(tmp_path / "x.zip", {"../evil": b"x"}), box)
    assert list(box.parent.iterdir()) == [box]
