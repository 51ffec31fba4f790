"""Where commands write by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from cyclegan.cli.main import parse
from cyclegan.cli.places import name_of
from cyclegan.data.config import FetchConfig
from cyclegan.errors import UsageError


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"source": "maps"}, "maps"),
        ({"source": "synthetic:city?size=64"}, "city"),
        ({"source": "."}, "photos"),
        ({"source": "./"}, "photos"),
        ({"source": "sub/.."}, "photos"),
        ({"source": "/"}, "images"),
        ({"a": ".", "b": "../paintings"}, "photos-paintings"),
        ({"a": "../paintings/.", "b": "."}, "paintings-photos"),
    ],
)
def test_a_dataset_is_called_after_its_source(
    given: dict[str, str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "photos")
    assert name_of(FetchConfig(**given)) == name  # type: ignore[arg-type]


def test_a_source_named_in_the_command_is_instead_of_a_files_folders(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("fetch: {a: photos, b: paintings}\n")
    command = parse("fetch", ["maps", "--params", str(file)])
    chosen = command.one_source(command.config)
    assert (chosen.source, chosen.a, chosen.b) == ("maps", "", "")
    assert name_of(chosen) == "maps"
    for words in ([], ["--test-share", "0.2"]):
        command = parse("fetch", [*words, "--params", str(file)])
        assert command.one_source(command.config).a == "photos"
    command = parse("fetch", ["maps", "--a", "drawings", "--b", "paintings", "--params", str(file)])
    with pytest.raises(UsageError, match="Either maps or a and b"):
        command.one_source(command.config)


def test_a_files_checksum_is_of_its_own_source(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f"fetch: {{source: 'https://host.example/maps.zip', sha256: '{'0' * 64}'}}\n")
    for words in (["synthetic:city"], ["--a", "photos", "--b", "paintings"]):
        command = parse("fetch", [*words, "--params", str(file)])
        assert command.one_source(command.config).sha256 == ""
    for words in ([], ["other.zip", "--sha256", "1" * 64]):
        command = parse("fetch", [*words, "--params", str(file)])
        assert command.one_source(command.config).sha256 == command.config.sha256 != ""
