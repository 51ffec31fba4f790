"""What is published, and whether a source changed, told without fetching it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cyclegan.data.config import FetchConfig
from cyclegan.data.fetch.published import images_state, resolve_version, source_state
from cyclegan.errors import CycleGANError
from cyclegan.io.storage import open_store

VERSION = f"{'0123456789abcdef' * 2}.dir"


def test_a_version_is_itself_or_what_its_address_names_now(web: Any) -> None:
    assert resolve_version(VERSION) == VERSION
    assert resolve_version("") == ""
    web.files["/data.dvc"] = f"outs:\n- md5: {VERSION}\n  path: data\n".encode()
    assert resolve_version(f"{web.url}/data.dvc") == VERSION
    web.files["/data.dvc"] = b"outs:\n- path: data\n"
    with pytest.raises(CycleGANError, match="names no data version"):
        resolve_version(f"{web.url}/data.dvc")


def test_a_bucket_or_an_archive_in_it_has_another_state_when_an_object_changes(s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}/images")
    store.write("trainA/1.png", b"abc")
    store.write("set.zip", b"abc")
    before = source_state(f"s3://{s3_bucket}/images"), source_state(f"s3://{s3_bucket}/images/set.zip")
    assert before == (
        source_state(f"s3://{s3_bucket}/images"),
        source_state(f"s3://{s3_bucket}/images/set.zip"),
    )
    store.write("trainA/1.png", b"xyz")  # of the same size
    after = source_state(f"s3://{s3_bucket}/images"), source_state(f"s3://{s3_bucket}/images/set.zip")
    assert after[0] != before[0] and after[1] == before[1]
    store.write("set.zip.md5", b"xyz")
    assert source_state(f"s3://{s3_bucket}/images/set.zip") == before[1]
    store.write("set.zip", b"xyz")
    assert source_state(f"s3://{s3_bucket}/images/set.zip") != before[1]


def test_an_archive_of_a_web_server_has_the_state_that_the_server_tells(web: Any) -> None:
    web.files["/set.zip"] = b"abc" * 100_000
    address = f"{web.url}/set.zip"
    web.fail(status=503)
    first = source_state(address)
    assert first == source_state(address)
    web.files["/set.zip"] = b"xyz" * 100_000
    assert source_state(address) not in {"", first}
    web.etags = False  # nothing to tell by: never taken for what it was
    assert source_state(address) != source_state(address)
    with pytest.raises(CycleGANError, match=r"There is no http://127.0.0.1:\d+/gone.zip"):
        source_state(f"{web.url}/gone.zip")


def test_a_folder_or_file_has_another_state_when_it_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "trainA").mkdir()
    image = tmp_path / "trainA" / "1.png"
    image.write_bytes(b"abc")
    states = [source_state(str(tmp_path)), source_state(str(image))]
    assert states == [source_state(str(tmp_path)), source_state(str(image))]
    assert states == [source_state(tmp_path.as_uri()), source_state(image.as_uri())]
    image.write_bytes(b"xyz")
    os.utime(image, ns=(1, 1))
    assert source_state(str(tmp_path)) != states[0]
    assert source_state(str(image)) != states[1]


def test_a_folder_is_one_also_without_a_slash_and_where_a_dataset_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_state("maps") == source_state("mine") == ""
    for name in ("maps", "mine"):  # fetch takes the folder too
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"abc")
        assert source_state(name) == source_state(f"./{name}") != ""


@pytest.mark.parametrize("source", ["maps", "synthetic:city", "synthetic:city?train=4&test=2"])
def test_known_and_drawn_datasets_stay_what_they_are(source: str) -> None:
    assert source_state(source) == ""


def test_two_folders_have_the_state_of_both(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"first")
    config = FetchConfig(a=str(tmp_path / "a"), b=str(tmp_path / "b"))
    states = {images_state(config)}
    for name in "ab":
        (tmp_path / name / "2.png").write_bytes(b"second")
        states.add(images_state(config))
    assert len(states) == 3 and "" not in states
    assert images_state(FetchConfig(source=str(tmp_path), sha256="0" * 64)) == ""
