"""Parameter files that would hang, fill the memory or end in a traceback."""

from __future__ import annotations

import random
import time

import pytest

from cyclegan.cli.main import main
from cyclegan.cli.params import load_section
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.training.config import TrainConfig

BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  seed: 2020-13-45\n", "cannot be read"),
        ("train:\n  seed: !!int abc\n", "cannot be read"),
        (f"train:\n  seed: {'9' * 5000}\n", "cannot be read|valid integer|finite|too"),
        (f"train:\n  seed: {'[' * 5000}\n", "nested too deeply|not valid YAML"),
        (f"train:\n  seed: [{BOMB.splitlines()[0][3:]}]\n" + "", "seed = "),
        ("train: {" + BOMB.replace("\n", ", ") + "}\n", "by its aliases"),
        ("train: &t\n  seed: *t\n", "by its aliases|not valid"),
        ("train:\n  seed: " + "x" * 300_000, "larger than"),
        ("train:\n  seed: " + "x" * 100_000, "seed = 'xxx"),
        ("train:\n  'a\x1b[2J\nb': 1", "not valid YAML|no parameter"),
        ("train:\n  seed: !!python/object/apply:os.system ['true']\n", "not valid YAML|seed"),
        ("train:\n  seed: .nan\n", "seed = nan"),
        ("train:\n  lr: .inf\n", "lr"),
        ("? [a, b]\n: {}\n", "no step reads"),
    ],
)
def test_a_hostile_file_is_one_short_sentence(tmp_path, capsys, text, message):
    (tmp_path / "p.yaml").write_text(text)
    started = time.monotonic()
    with pytest.raises(UsageError, match=message) as error:
        load_section(tmp_path / "p.yaml", "train", TrainConfig)
    assert len(str(error.value)) < 600
    assert str(error.value).isprintable()
    assert time.monotonic() - started < 10
    assert main(["train", "--params", str(tmp_path / "p.yaml")]) == 2
    assert len(capsys.readouterr().err) < 700


def test_mutated_files_are_read_or_refused(tmp_path):
    whole = "train:\n  generator: resnet\n  epochs: 3\n  lr: 2e-4 # rate\n  flip: true\n  weights: 'none'\n"
    generator = random.Random(0)
    for _ in range(400):
        text = list(whole)
        for _ in range(generator.randint(1, 4)):
            text[generator.randrange(len(text))] = generator.choice("[]{}&*!|>'\":-?#%@`,\n\t 0a~\x00\x1b")
        (tmp_path / "p.yaml").write_text("".join(text))
        try:
            load_section(tmp_path / "p.yaml", "train", TrainConfig)
        except CycleGANError as error:
            assert str(error).isprintable()
