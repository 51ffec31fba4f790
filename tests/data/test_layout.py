from __future__ import annotations

import pytest

from cyclegan.data.layout.arrange import arrange, arrange_pairs, split
from cyclegan.data.layout.files import is_image
from cyclegan.data.layout.pairs import are_pairs, stem_key
from cyclegan.errors import UsageError


def places(*names: str, share: float = 0.25, seed: int = 0) -> dict[str, str]:
    return arrange(names, test_share=share, seed=seed, where="here").places


FULL = ["trainA/1.jpg", "trainB/2.jpg", "testA/3.jpg", "testB/4.jpg"]


def test_the_official_layout_stays() -> None:
    assert places(*FULL) == {name: name for name in FULL}


@pytest.mark.parametrize("top", ["maps/", "a/b/c/", "TrainData2/"])
def test_top_folders_are_taken_off(top: str) -> None:
    assert places(*(top + name for name in FULL)) == {name: top + name for name in FULL}


@pytest.mark.parametrize(
    "names",
    [
        ["TRAINA/1.JPG", "trainb/2.Jpeg", "Test_A/3.webp", "test-B/4.TIF"],
        ["train/A/1.JPG", "train/B/2.Jpeg", "test/a/3.webp", "test/b/4.TIF"],
        ["Train A/1.JPG", "Train B/2.Jpeg", "TEST/A/3.webp", "TEST/B/4.TIF"],
    ],
)
def test_other_spellings(names: list[str]) -> None:
    assert list(places(*names)) == ["trainA/1.JPG", "testA/3.webp", "trainB/2.Jpeg", "testB/4.TIF"]


def test_plain_domains_are_divided() -> None:
    names = [f"A/{i}.png" for i in range(8)] + [f"B/sub/{i}.bmp" for i in range(4)]
    found = places(*names)
    count = {
        domain: sum(place.startswith(domain) for place in found)
        for domain in ("trainA", "trainB", "testA", "testB")
    }
    assert count == {"trainA": 6, "trainB": 3, "testA": 2, "testB": 1}
    assert sorted(found.values()) == sorted(names)
    assert all("/sub/" in place for place in found if place.endswith(".bmp"))


def test_the_division_depends_on_the_seed_only() -> None:
    names = [f"{side}/{i}.png" for side in "AB" for i in range(40)]
    first = places(*names)
    assert first == places(*reversed(names))
    assert first != places(*names, seed=1)
    tests = {side: {p.split("/")[1] for p in first if p.startswith(f"test{side}")} for side in "AB"}
    assert tests["A"] == tests["B"]  # the same stems: pairs stay pairs


def test_a_new_image_moves_at_most_one_other() -> None:
    names = [f"{i}.png" for i in range(100)]
    before, after = set(split(names, 0.1, 0)[1]), set(split([*names, "new.png"], 0.1, 0)[1])
    assert len(before - after) <= 1


def test_missing_tests_are_taken_from_train() -> None:
    found = places(
        *(f"trainA/{i}.png" for i in range(4)), *(f"trainB/{i}.png" for i in range(4)), "testA/9.png"
    )
    assert [p for p in found if p.startswith("testA")] == ["testA/9.png"]
    assert sum(p.startswith("testB") for p in found) == 1
    assert sum(p.startswith("trainA") for p in found) == 4


def test_what_is_no_image_is_left_aside(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    rubbish = [
        "__MACOSX/trainA/._1.jpg",
        "trainA/.hidden.png",
        "trainA/Thumbs.db",
        ".git/trainA/x.png",
        "readme.txt",
    ]
    assert list(places(*FULL, *rubbish)) == ["trainA/1.jpg", "testA/3.jpg", "trainB/2.jpg", "testB/4.jpg"]
    assert "1 .db" in caplog.text
    assert "1 .txt" in caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no files"),
        (["notes.txt"], "it has 1 .txt"),
        (["trainA/1.jpg"], "no folders trainA and trainB"),
        (["trainA/1.txt", "trainB/1.jpg"], "no folders trainA and trainB"),
        (
            ["1.jpg", "2.jpg"],
            r"images are in \./ \(2\): if each is a pair side by side, pass --side-by-side AB",
        ),
        (
            ["x/1.jpg", "y/1.jpg", "z/1.jpg"],
            r"in x/ \(1\), y/ \(1\), z/ \(1\): tell .* --a-folder and --b-folder",
        ),
        (["train2017/1.jpg", "val2017/2.jpg"], r"train2017/ \(1\), val2017/ \(1\): tell"),
        (["data/train-00000.parquet"], "holds no images; it has 1 .parquet .*Hugging Face"),
        (["a/1.cr2", "b/1.nef"], "camera raw: develop it"),
        (["A/1.jpg", "B/1.jpg"], "at least 2"),
        (
            [f"{top}/{name}" for top in ("maps", "monet") for name in FULL],
            "more than one dataset, 'maps' and 'monet'",
        ),
        ([*FULL, "TRAINA/1.jpg"], "would both become trainA/1.jpg"),
    ],
)
def test_no_layout_is_one_clear_sentence(names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        places(*names)
    assert "here" in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trainA/1.jpg", True),
        ("x.JPEG", True),
        ("x.webp", True),
        ("x.TIFF", True),
        ("x", False),
        ("x.heic", True),
        ("x.cr2", False),
        ("x.jpg.txt", False),
        (".x.jpg", False),
        ("__macosx/x.jpg", False),
    ],
)
def test_images_by_name(name: str, expected: bool) -> None:
    assert is_image(name) is expected


def test_pairs() -> None:
    assert stem_key("12_A.jpg") == stem_key("12_B.png") == "12"
    assert are_pairs(["1_A.jpg", "2_A.jpg"], ["2_B.jpg", "1_B.jpg"])
    assert are_pairs(["x/1.jpg"], ["x/1.png"])
    assert not are_pairs(["1.jpg"], ["2.jpg"])
    assert not are_pairs(["1.jpg", "2.jpg"], ["1.jpg"])
    assert not are_pairs(["1.jpg", "1.png"], ["1.jpg"])
    assert not are_pairs([], [])


def test_ten_images_leave_two_to_evaluate_on() -> None:
    for count, tests in ((2, 1), (9, 1), (10, 2), (40, 4)):
        train, test = split([f"{i}.png" for i in range(count)], 0.1, 0)
        assert (len(train), len(test)) == (count - tests, tests)


def all_of(count: int, *folders: str) -> list[str]:
    return [f"{folder}/{i}.jpg" for folder in folders for i in range(count)]


@pytest.mark.parametrize("form", ["val/{}", "val{}", "validation{}", "Valid/{}"])
def test_validation_becomes_test(form: str) -> None:
    train = all_of(3, "train/A", "train/B")
    held = all_of(2, form.format("A"), form.format("B"))
    found = places(*train, *held)
    assert {p: n for p, n in found.items() if p.startswith("test")} == {
        f"test{side}/{i}.jpg": f"{form.format(side)}/{i}.jpg" for side in "AB" for i in range(2)
    }
    assert sum(p.startswith("train") for p in found) == 6


def test_validation_beside_test_is_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    names = [*FULL, "valA/5.jpg", "valA/6.jpg", "__MACOSX/._1.jpg", "trainA/._2.jpg"]
    assert set(places(*names).values()) == set(FULL)
    assert "ignored: 2 images in valA/, 2 hidden files" in caplog.text


@pytest.mark.parametrize(
    ("names", "domains", "train_a"),
    [
        (all_of(4, "monet_jpg", "photo_jpg"), {"A": "monet", "B": "photo"}, 3),
        (all_of(4, "x/train/horse", "x/train/zebra"), {"A": "horse", "B": "zebra"}, 3),
        (
            all_of(4, "train/horse", "train/zebra", "test/zebra", "test/horse"),
            {"A": "horse", "B": "zebra"},
            4,
        ),
        (all_of(4, "train/A", "train/B"), {"A": "A", "B": "B"}, 3),
    ],
)
def test_folders_with_names_of_their_own(names: list[str], domains: dict[str, str], train_a: int) -> None:
    found = arrange([*names, "notes.txt", "monet_tfrec/1.tfrec"], test_share=0.25, seed=0, where="here")
    assert found.names == domains
    assert set(found.places.values()) == set(names)
    assert sum(place.startswith("trainA") for place in found.places) == train_a
    for place, name in found.places.items():
        assert domains[place.split("/")[0][-1]].lower() in name.lower()


@pytest.mark.parametrize(
    "sides", [("A", "B"), ("horse", "zebra"), ("set/domain_A/images", "set/domain_B/images")]
)
@pytest.mark.parametrize("held", ["test", "Val"])
def test_the_split_inside_a_domains_folder_counts(
    sides: tuple[str, str], held: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = [name for side in sides for name in (*all_of(6, f"{side}/train/x"), *all_of(4, f"{side}/{held}"))]
    found = places(*names)
    inside = "images/" if "images" in sides[0] else ""
    for side, folder in zip("AB", sides, strict=True):
        assert {p: n for p, n in found.items() if p.startswith(f"test{side}")} == {
            f"test{side}/{inside}{i}.jpg": f"{folder}/{held}/{i}.jpg" for i in range(4)
        }
        assert {p: n for p, n in found.items() if p.startswith(f"train{side}")} == {
            f"train{side}/{inside}x/{i}.jpg": f"{folder}/train/x/{i}.jpg" for i in range(6)
        }
    assert "holding out" not in caplog.text


def test_a_split_inside_one_domain_alone_leaves_the_other_to_be_divided() -> None:
    found = places(*all_of(4, "A/train"), *all_of(3, "A/test"), *all_of(8, "B"))
    counts = {d: sum(p.startswith(d) for p in found) for d in ("trainA", "testA", "trainB", "testB")}
    assert counts == {"trainA": 4, "testA": 3, "trainB": 6, "testB": 2}
    # images beside the folders, or none to train on: these folders are not a division
    for others in (all_of(1, "A"), []):
        found = places(*all_of(7, "A/test"), *others, *all_of(8, "B"))
        assert all("/test/" in place for place, name in found.items() if name.startswith("A/test"))


def test_folders_by_pattern() -> None:
    names = all_of(4, "set/Photos/2020", "set/art/monet", "set/art/degas", "set/test/Photos")
    found = arrange(names, test_share=0.25, seed=0, where="here", a_folder="photos", b_folder="art/m*")
    assert found.names == {"A": "Photos", "B": "monet"}
    assert {p: n for p, n in found.places.items() if p.startswith("testA")} == {
        f"testA/{i}.jpg": f"set/test/Photos/{i}.jpg" for i in range(4)
    }
    assert {n for p, n in found.places.items() if p[-7] == "B" or "B/" in p} == set(
        all_of(4, "set/art/monet")
    )
    assert sum(p.startswith("testB") for p in found.places) == 1
    with pytest.raises(UsageError, match=r"matches 'cats'; its images are in set/Photos/2020/ \(4\)"):
        arrange(names, test_share=0.25, seed=0, where="here", a_folder="photos", b_folder="cats")


def test_pairs_side_by_side_are_divided() -> None:
    names = ["f/train/1.jpg", "f/train/2.jpg", "f/val/3.jpg"]
    assert arrange_pairs(names, test_share=0.5, seed=0, where="here") == {
        "train/f/1.jpg": names[0],
        "train/f/2.jpg": names[1],
        "test/f/3.jpg": names[2],
    }
    held = arrange_pairs([f"{i}.jpg" for i in range(10)], test_share=0.2, seed=0, where="here")
    assert sum(place.startswith("test/") for place in held) == 2
    with pytest.raises(UsageError, match="at least 2"):
        arrange_pairs(["1.jpg"], test_share=0.5, seed=0, where="here")
