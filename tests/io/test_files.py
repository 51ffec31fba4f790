from __future__ import annotations

import errno
from pathlib import Path

import pytest

from cyclegan.io.files import atomic_dir, atomic_file, read_json, sha256, write_json


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    with pytest.raises(RuntimeError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "whole"
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


def test_a_folder_replaces_a_filled_folder(tmp_path: Path) -> None:
    target = tmp_path / "d"
    for content in ("former", "new"):
        with atomic_dir(target) as temporary:
            (temporary / content).touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), atomic_dir(target) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_the_former_folder_returns_when_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "d"
    with atomic_dir(target) as temporary:
        (temporary / "former").touch()
    real = Path.rename

    def fail_once(self: Path, to: Path) -> Path:
        if Path(to) == target and not self.name.endswith(".former"):
            raise OSError(errno.EIO, "broken disk")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="broken disk"), atomic_dir(target) as temporary:
        (temporary / "new").touch()
    assert [p.name for p in target.iterdir()] == ["former"]


def test_json_refuses_what_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    write_json(path, {"fid": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"fid": float("nan")})
    assert read_json(path) == {"fid": 1.5}


def test_sha256_of_the_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
