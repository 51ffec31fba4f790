"""What reaches a terminal: no secrets, no forged lines."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from tqdm import tqdm

from cyclegan.cli.main import main
from cyclegan.io.terminal import CleanFormatter, TerminalHandler


def test_arguments_of_log_lines_are_made_safe() -> None:
    args = (
        Path("a\nCheckpoint written\x1b[2J.png"),
        "https://u:hunter2@h.org/x?t=hunter2",
        ValueError("b\r"),
        3,
    )
    record = logging.LogRecord("cyclegan", logging.INFO, "", 0, "%s\n%s %s %05d", args, None)
    shown = CleanFormatter("%(message)s").format(record)
    assert shown == "a\\nCheckpoint written\\x1b[2J.png\nhttps://h.org/x b\\r 00003"
    assert record.args == args


def test_a_message_stands_above_the_progress_bar() -> None:
    terminal = io.StringIO()
    with tqdm(total=2, file=terminal, ncols=40) as bar:
        bar.update()
        TerminalHandler(terminal).emit(logging.LogRecord("cyclegan", logging.INFO, "", 0, "said", (), None))
        before, _, after = terminal.getvalue().partition("said\n")
    assert before.endswith(" \r"), "the bar was not cleared"
    assert "1/2" in after, "the bar was not drawn again"


@pytest.mark.parametrize(
    "arguments",
    [
        ["fetch", "http:/u:hunter2@h/x.zip"],
        ["fetch", "u:hunter2@h/x"],
        ["fetch", "https://u:hunter2@[::1/x.zip?t=hunter2"],
        ["fetch", "s3://KEY:hunter2@bucket/x/"],
        ["fetch", "ftp://u:hunter2@host/x.zip"],
        ["fetch", "maps", "--datasets-url", "http://u:hun/hunter2@[/"],
        ["translate", "s3://KEY:hunter2@bucket/model", "x.png", "--out", "y"],
        ["translate", "u:hunter2@h/model", "x.png", "--out", "y"],
        ["translate", "m", "u:hunter2@h/x.png", "--out", "y"],
        ["translate", "m", "gs://u:hunter2@h/x.png", "--out", "y"],
        ["export", "https://u:hunter2@h/model"],
        ["import-weights", "--AtoB", "u:hunter2@h/x", "--BtoA", "y"],
        ["import-weights", "--AtoB", "gs://u:hunter2@h/x?token=hunter2", "--BtoA", "y"],
        ["evaluate", "--weights", "gs://u:hunter2@h/x", "--model", "m", "--prepared", "http://u:hunter2@h"],
        ["train", "--checkpoints", "s3://K:hunter2@bucket/x", "--prepared", "u:hunter2@h"],
    ],
)
def test_no_mistake_prints_a_password(arguments, capsys, caplog, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CYCLEGAN_TRACKING", "off")
    assert main(arguments) in {1, 2}
    shown = capsys.readouterr()
    assert shown.err
    assert "hunter2" not in shown.err + shown.out + caplog.text
