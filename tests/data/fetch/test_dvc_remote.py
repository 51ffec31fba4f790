"""A version out of remotes that DVC itself has filled."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cyclegan.data.config import FetchConfig
from cyclegan.data.fetch.dvc_remote import md5_of_text
from cyclegan.data.fetch.fetch import fetch
from cyclegan.data.version import directory_md5
from cyclegan.errors import CycleGANError

MakeTree = Callable[..., Path]
QUICK: dict[str, Any] = {"retries": 1, "retry_pause": 0.001}
PUSH = """
import sys
from dvc.repo import Repo
repo = Repo(".")
repo.add("data")
for name in ("one", "two"):
    repo.push(remote=name)
"""


def push(repo: Path, first: str, second: str, endpoint: str) -> str:
    """`dvc add data` and `dvc push` to a folder and to S3; returns the version."""
    config = f"""
[core]
    no_scm = true
    analytics = false
['remote "one"']
    url = {first}
['remote "two"']
    url = {second}
    endpointurl = {endpoint}
"""
    (repo / ".dvc").mkdir()
    (repo / ".dvc" / "config").write_text(config)
    done = subprocess.run([sys.executable, "-c", PUSH], cwd=repo, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(yaml.safe_load((repo / "data.dvc").read_text())["outs"][0]["md5"])


def store(remote: Path, data: bytes, ending: str = "", prefix: str = "files/md5/") -> str:
    """Put an object into a remote as DVC does; returns its MD5."""
    import hashlib

    md5 = hashlib.md5(data).hexdigest()
    path = remote / f"{prefix}{md5[:2]}/{md5[2:]}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return md5 + ending


def store_tree(remote: Path, files: dict[str, bytes], prefix: str = "files/md5/") -> str:
    listing = [
        {"md5": store(remote, data, prefix=prefix), "relpath": name} for name, data in sorted(files.items())
    ]
    return store(remote, json.dumps(listing).encode(), ".dir", prefix)


FILES = {"trainA/1.png": b"1", "trainB/1.png": b"2", "testA/1.png": b"3", "testB/1.png": b"4"}


def test_remotes_of_dvc_2(tmp_path: Path) -> None:
    version = store_tree(tmp_path / "remote", FILES, prefix="")
    assert (
        fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "remote"), version=version)).version
        == version
    )


def test_dvc_2_took_line_ends_as_those_of_unix(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    remote, text = tmp_path / "remote", b"two\r\nlines\r\n"
    store(remote, text, prefix="")
    listing = [{"md5": store(remote, data, prefix=""), "relpath": name} for name, data in FILES.items()]
    md5 = hashlib.md5(text.replace(b"\r\n", b"\n")).hexdigest()
    (remote / md5[:2]).mkdir(exist_ok=True)
    (remote / md5[:2] / md5[2:]).write_bytes(text)
    listing += [{"md5": md5, "relpath": "notes.txt"}]
    version = store(remote, json.dumps(listing).encode(), ".dir", "")
    source = fetch(tmp_path / "out", FetchConfig(source=str(remote), version=version))
    assert (tmp_path / "out" / "notes.txt").read_bytes() == text
    assert source.version == directory_md5(tmp_path / "out") != version
    assert "line ends that DVC 2 did not count" in caplog.text
    (remote / md5[:2] / md5[2:]).write_bytes(b"other\r\n")
    with pytest.raises(CycleGANError, match="is damaged"):
        fetch(tmp_path / "again", FetchConfig(source=str(remote), version=version))


@pytest.mark.parametrize(
    "content",
    [b"", b"a\r\nb\r\n", b"a\rb\n\r\n", b"\0\r\n", b"\xff\xd8\r\n" * 400, b"caf\xc3\xa9\r\n",
     b"x" * ((1 << 20) - 1) + b"\r\ny\r\n", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3],
    ids=range(8),
)  # fmt: skip
def test_text_has_the_md5_that_dvc_gave_it(tmp_path: Path, content: bytes) -> None:
    from dvc_data.hashfile.hash import file_md5

    (tmp_path / "file").write_bytes(content)
    assert md5_of_text(tmp_path / "file") == file_md5(str(tmp_path / "file"), name="md5-dos2unix")


def test_the_same_content_under_two_names(tmp_path: Path) -> None:
    version = store_tree(tmp_path / "remote", {**FILES, "trainA/2.png": b"1"})
    source = fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "remote"), version=version))
    assert source.counts["trainA"] == 2


def test_another_layout_is_rearranged(tmp_path: Path) -> None:
    files = {f"horses/{name}": data for name, data in FILES.items()}
    version = store_tree(tmp_path / "remote", files)
    source = fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "remote"), version=version))
    assert source.counts == {"trainA": 1, "trainB": 1, "testA": 1, "testB": 1}
    assert source.version == directory_md5(tmp_path / "out") != version


def test_a_version_that_is_one_archive(tmp_path: Path, make_tree: MakeTree) -> None:
    from cyclegan.data.fetch.archives import pack_zip

    pack_zip(make_tree(tmp_path / "data"), tmp_path / "data.zip")
    version = store(tmp_path / "remote", (tmp_path / "data.zip").read_bytes())
    source = fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "remote"), version=version))
    assert source.version == directory_md5(tmp_path / "data")


def test_a_damaged_object_is_named(tmp_path: Path) -> None:
    version = store_tree(tmp_path / "remote", FILES)
    victim = next(p for p in (tmp_path / "remote").rglob("*") if p.is_file() and p.read_bytes() == b"3")
    victim.write_bytes(b"rotten")
    with pytest.raises(CycleGANError, match=f"{victim.parent.name}/{victim.name} is damaged"):
        fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "remote"), version=version))
    victim.unlink()
    with pytest.raises(CycleGANError, match=victim.name):
        fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "remote"), version=version))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../evil.png", "/tmp/evil.png", "a/../../evil.png", "C:/evil.png"])
def test_a_listing_that_leads_outside(tmp_path: Path, name: str) -> None:
    version = store_tree(tmp_path / "remote", {**FILES, name: b"evil"})
    with pytest.raises(CycleGANError, match="leads outside"):
        fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "remote"), version=version))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["remote"]


@pytest.mark.parametrize("listing", [b"", b"{}x", b'{"a": 1}', b'[{"relpath": "x"}]', b"[1]", b"\xff\xfe"])
def test_a_listing_that_is_none(tmp_path: Path, listing: bytes) -> None:
    version = store(tmp_path / "remote", listing, ".dir")
    with pytest.raises(CycleGANError):
        fetch(tmp_path / "out", FetchConfig(source=str(tmp_path / "remote"), version=version))
    assert not (tmp_path / "out").exists()
