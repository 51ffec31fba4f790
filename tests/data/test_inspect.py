from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from cyclegan.data.config import InspectConfig
from cyclegan.data.inspect.inspect import as_table, inspect
from cyclegan.data.inspect.measure import Job, measure
from cyclegan.data.inspect.records import Inspection
from cyclegan.errors import CycleGANError, UsageError

MakeTree = Callable[..., Path]
Picture = Callable[..., Image.Image]


def look(folder: Path) -> Inspection:
    return inspect(folder, None, InspectConfig(workers=1))


def says(inspection: Inspection, pattern: str, level: str) -> bool:
    return any(re.search(pattern, f.text) and f.level == level for f in inspection.findings)


def test_a_clean_dataset_has_no_complaints(tmp_path: Path, make_tree: MakeTree) -> None:
    inspection = look(make_tree(tmp_path / "data", {"trainA": 60, "trainB": 55, "testA": 5, "testB": 5}))
    assert inspection.findings == []
    assert "no problems found" in as_table(inspection)
    assert inspection.domains["trainA"].count == 60
    assert inspection.domains["trainA"].sizes == [("24x20", 60)]
    assert inspection.domains["trainA"].formats == {"PNG": 60}


@pytest.mark.parametrize("quality", [30, 50, 75, 85, 92, 96])
def test_jpeg_quality_is_estimated(tmp_path: Path, picture: Picture, quality: int) -> None:
    picture(0, (64, 48)).save(tmp_path / "x.jpg", quality=quality)
    assert measure(Job(str(tmp_path / "x.jpg"), 16, 10**6)).quality == pytest.approx(quality, abs=2)


def test_duplicates_of_every_kind(tmp_path: Path, make_tree: MakeTree, picture: Picture) -> None:
    data = make_tree(tmp_path / "data", {"trainA": 20, "trainB": 20, "testA": 5, "testB": 5})
    shutil.copy(data / "trainA" / "1.png", data / "testA" / "x.png")
    shutil.copy(data / "trainA" / "2.png", data / "trainB" / "y.png")
    Image.open(data / "trainB" / "3.png").save(data / "trainB" / "z.bmp")
    picture(900, (120, 90)).save(data / "testB" / "p.jpg", quality=90)
    picture(900, (100, 70)).save(data / "trainB" / "q.jpg", quality=60)
    found = {(d.first, d.second, d.exact, d.kind) for d in look(data).duplicates}
    assert found == {
        ("trainA/1.png", "testA/x.png", True, "train and test"),
        ("trainB/q.jpg", "testB/p.jpg", False, "train and test"),
        ("trainA/2.png", "trainB/y.png", True, "A and B"),
        ("trainB/3.png", "trainB/z.bmp", True, "within"),
    }
    assert says(look(data), "2 pictures are in train and in test", "bad")


def test_unequal_compression(tmp_path: Path, picture: Picture) -> None:
    for side, quality in (("A", 95), ("B", 60)):
        for domain in (f"train{side}", f"test{side}"):
            (tmp_path / domain).mkdir()
            for i in range(4):
                number = 10 * quality + 5 * len(domain) + i
                picture(number, (64, 64)).save(tmp_path / domain / f"{i}.jpg", quality=quality)
    assert says(look(tmp_path), "JPEG quality is about 95 in A and 60 in B", "warn")
    for path in (tmp_path / "trainB").iterdir():
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    assert says(look(tmp_path), "100% of A and 0% of B are JPEGs", "warn")


def test_other_troubles(tmp_path: Path, make_tree: MakeTree, picture: Picture) -> None:
    data = make_tree(tmp_path / "data", {"A": 60, "B": 8})
    picture(1, (24, 20), "L").save(data / "A" / "grey.png")
    Image.new("RGB", (24, 20), (30, 60, 90)).save(data / "A" / "flat.png")
    (data / "A" / "bad.png").write_bytes(b"no image")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(2).save(data / "A" / "turned.jpg", exif=exif, quality=95)
    picture(3).save(data / "A" / "moving.gif", save_all=True, append_images=[picture(4)])
    for i in range(8):
        picture(50 + i, (300, 100)).save(data / "B" / f"{i}.png")
    inspection = look(data)
    assert says(inspection, "A: 1 of 65 images cannot be used", "bad")
    assert inspection.rejected == [
        ("A/bad.png", "not an image of a known format, or damaged at its beginning")
    ]
    assert inspection.flat == ["A/flat.png"]
    assert says(inspection, r"1 of 64 images have no colour \(A/grey.png\)", "warn")
    assert says(inspection, "1 images are turned upright", "note")
    assert says(inspection, "1 files have several frames", "note")
    assert says(inspection, "B: the images are oblong", "note")
    assert says(inspection, "20 pixels in A and 100 in B: one domain is sharper", "warn")
    assert says(inspection, "B: only 8 images", "warn")
    assert says(inspection, "A has 64 images to train on, B has 8", "note")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset"}]
        if tag not in {"meta", "img", "br", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path, make_tree: MakeTree) -> None:
    data = make_tree(tmp_path / "data")
    shutil.copy(data / "trainA" / "1.png", data / "testA" / "x.png")
    (data / "trainA" / "0.png").rename(data / "trainA" / "<script>alert(1)<.png")
    (data / "trainB" / "bad & ugly.png").write_bytes(b"")
    Image.open(data / "trainB" / "2.png").convert("L").save(data / "trainB" / "old photo.png")
    page = tmp_path / "new" / "page.html"
    inspect(data, page, InspectConfig(samples=3))
    html = page.read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(html)
    assert tags.open == []
    # a pair of duplicates, one without colour, and samples of each domain
    assert len(tags.links) == 2 + 1 + 3 + 3 + 3 + 2
    assert "Without colour in trainB" in html and html.count("old photo.png") >= 2
    assert all(link.startswith("data:image/webp;base64,") for link in tags.links)
    assert "<script>" not in html
    assert "bad &amp; ugly.png" in html
    assert "the file is empty" in html
    assert not re.search(r"https?://", html)


def test_pillows_warnings_do_not_reach_the_terminal(
    tmp_path: Path, make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """Of images above Pillow's limit and below our own, which are measured and shown all the same."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 20 - 1)
    inspection = inspect(make_tree(tmp_path / "data"), tmp_path / "page.html", InspectConfig())
    assert inspection.rejected == []
    assert (tmp_path / "page.html").read_text().count("data:image") >= 13
    assert [str(warning.message) for warning in recwarn] == []


def test_what_cannot_be_looked_at(tmp_path: Path, make_tree: MakeTree) -> None:
    with pytest.raises(UsageError, match="no folder"):
        look(tmp_path / "absent")
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(UsageError, match=r"1 \.txt"):
        look(tmp_path)
    data = make_tree(tmp_path / "data")
    for path in (data / "trainB").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(CycleGANError, match="None of the 4 images of trainB"):
        look(data)


def test_real_archives(tmp_path: Path, real_data: Path) -> None:
    """What is known of the real datasets is found in them."""
    from cyclegan.data.config import FetchConfig
    from cyclegan.data.fetch.fetch import fetch

    source = fetch(tmp_path / "awkward", FetchConfig(source=str(real_data / "awkward.zip")))
    assert source.counts == {"trainA": 11, "trainB": 7, "testA": 1, "testB": 4}
    inspection = look(tmp_path / "awkward")
    assert [(d.first, d.second, d.exact) for d in inspection.duplicates] == [
        ("trainA/n02381460_3811.jpg", "testA/n02381460_1160.jpg", True)
    ]
    assert inspection.domains["trainB"].modes == {"L": 7}
    assert says(inspection, "trainB: no image has colour", "warn")
    assert fetch(tmp_path / "maps", FetchConfig(source=str(real_data / "maps600.zip"))).paired
    maps = look(tmp_path / "maps")
    assert maps.duplicates == []
    assert maps.domains["trainA"].sizes == [("600x600", 12)]
