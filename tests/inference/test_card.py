"""The model card says what the model's files say, and nothing secret."""

from __future__ import annotations

import json

import pytest
import yaml

from cyclegan.cli.main import main
from cyclegan.errors import UsageError
from cyclegan.inference.write_card import write_card
from cyclegan.registry.pages.card import model_card

CONFIG = {
    "generator": {"name": "resnet", "blocks": 9},
    "image_size": 256,
    "epochs": 200,
    "seed": 3,
    "data": {
        "uri": "https://user:secret@example.org/maps.zip",
        "version": "abc",
        "names": {"A": "horse", "B": "zebra"},
    },
    "train": {"lr": 2e-4, "amp": True, "compile": False, "betas": [0.5, 0.999], "note": "two words"},
    "git_commit": "c0ffee",
}
SCORES = {"fid": 71.25, "fid_se": 1.0, "cycle_l1_A": 0.031}
FACTS = {
    "intervals": {"fid": [69.0, 73.5]},
    "extractor": {"name": "inception2048"},
    "protocol": {"testA": 1096},
}


def test_the_card_says_what_the_files_say():
    text = model_card(CONFIG, SCORES, FACTS, license_id="cc-by-4.0")
    _, front, body = text.split("---\n", 2)
    head = yaml.safe_load(front)
    assert (head["license"], head["pipeline_tag"], head["metrics"]) == (
        "cc-by-4.0",
        "image-to-image",
        ["fid"],
    )
    for said in ("resnet: blocks 9", "version `abc`", "200 epochs at 256 pixels", "commit `c0ffee`"):
        assert said in body
    assert "| FID |  | 71.25 | 69.00 – 73.50 |" in body and "fid_se" not in body
    assert "| Cycle error | horse → zebra → horse | 0.03100 |  |" in body
    assert "# CycleGAN: horse ↔ zebra" in body and "# zebra → horse\n" in body
    assert "Protocol: features `inception2048`, testA 1096." in body
    assert "--lr 0.0002 --amp --no-compile --betas 0.5 0.999 --note 'two words'" in body
    assert "secret" not in text
    assert model_card({}, front_matter=False).startswith("# CycleGAN")


def test_the_card_says_which_model_the_training_continued():
    train = CONFIG["train"] | {"init": "https://user:secret@example.org/maps"}
    text = model_card(CONFIG | {"train": train})
    assert "| Trained | 200 epochs at 256 pixels, continued from `https://" in text
    assert "example.org/maps` |" in text and "secret" not in text
    assert "continued from" not in model_card(CONFIG)


def test_a_long_command_is_broken_between_flags_and_not_before_their_values():
    train = {f"parameter_{i}": i * 111 for i in range(40)} | {"betas": [0.5, 0.999], "note": "two words"}
    text = model_card(CONFIG | {"train": train})
    command = text.split("## Training command\n\n```\n")[1].split("\n```")[0]
    first, *others = command.split(" \\\n  ")
    assert first.startswith("cyclegan train --parameter_0 0 ") and len(others) > 5
    assert all(line.startswith("--") and len(line) <= 90 for line in others)
    assert " ".join(others).endswith("--betas 0.5 0.999 --note 'two words'")


def test_the_verb_writes_it(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["card", "model", "--out", "README.md"]) == 0
    assert (tmp_path / "README.md").read_text() == write_card("model", tmp_path / "none", "", None)
    assert main(["card", "nothing"]) == 2
    assert "There is no model in nothing" in capsys.readouterr().err


def test_scores_that_are_not_there_are_named_before_anything_is_published(model, tmp_path, capsys, caplog):
    for command in (["card", str(model)], ["push", str(tmp_path / "out"), "--model", str(model)]):
        assert main([*command, "--scores", str(tmp_path / "wrong")]) == 2
        said = capsys.readouterr()
        assert f"--scores {tmp_path / 'wrong'}: there is no scores.json" in said.err and not said.out
        assert not (tmp_path / "out").exists()
        with caplog.at_level("INFO", "cyclegan.cli"):
            assert main(command) == 0
        capsys.readouterr()
        assert any(text.startswith("The card has no scores") for text in caplog.messages)
        caplog.clear()


def test_an_exported_file_is_not_taken_for_a_missing_model(model, tmp_path, capsys, caplog):
    (exported := tmp_path / "AtoB.onnx").write_bytes(b"onnx")
    commands = (
        ["card", str(exported)],
        ["export", str(exported)],
        ["push", str(tmp_path / "out"), "--model", str(exported)],
    )
    for command in commands:
        with caplog.at_level("INFO", "cyclegan.cli"):
            assert main(command) == 2
        assert f"{exported} is a file: name the model's folder" in capsys.readouterr().err
        assert "has no scores" not in caplog.text


def test_push_says_how_its_model_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["push", "out"]) == 2
    assert "Name the model, such as --model runs/maps/model;" in capsys.readouterr().err


def test_scores_of_other_data_are_refused(model, tmp_path):
    config = json.loads((model / "config.json").read_text()) | {"data": {"version": "mine"}}
    (model / "config.json").write_text(json.dumps(config))
    scores = tmp_path / "scores"
    scores.mkdir()
    (scores / "scores.json").write_text(json.dumps(SCORES))
    (scores / "evaluation.json").write_text(json.dumps(FACTS | {"data_version": "other"}))
    with pytest.raises(UsageError, match="data version other, the model's is mine"):
        write_card(str(model), scores, "", None)
    (scores / "evaluation.json").write_text(json.dumps(FACTS | {"data_version": "mine"}))
    assert "71.25" in write_card(str(model), scores, "", None)
