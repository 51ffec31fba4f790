"""The link checker: what it accepts, and what it reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import links


@pytest.fixture
def reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(links, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# One: `two`\n\n## Again\n\n## Again\n\n```\n# no heading\n```\n")

    def check(text: str) -> list[str]:
        page = tmp_path / "page.md"
        page.write_text(text)
        return [reason for _, _, reason in links.broken(page)]

    return check


@pytest.mark.parametrize(
    "text",
    [
        "[a](other.md)",
        "[a](other.md#one-two)",
        "[a](other.md#again-1)",
        "# Top\n[a](#top)",
        "[a](https://x.org/y)",
        "`[a](nowhere.md)`",
        "    [a](nowhere.md)",
        '![a](other.md "title")',
    ],
)
def test_links_that_lead_somewhere(reasons, text: str) -> None:
    assert reasons(text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a](nowhere.md)", "no such file"),
        ("[a](other.md#no-heading)", "no heading '#no-heading' in other.md"),
        ("[a](#top)", "no heading '#top' in page.md"),
        ("[a](../../etc/hosts)", "leaves the repository"),
    ],
)
def test_links_that_lead_nowhere(reasons, text: str, reason: str) -> None:
    assert reasons(text) == [reason]
