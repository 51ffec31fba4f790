"""The commands that use a trained model: translate, demo, serve, card, push, export, import-weights."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cyclegan.cli import places, preflight
from cyclegan.cli.next_steps import tell
from cyclegan.errors import UsageError
from cyclegan.inference.config import ImportConfig, TranslateConfig
from cyclegan.inference.export import ExportConfig
from cyclegan.io.uri import redact
from cyclegan.model_config import guard_model
from cyclegan.serving.config import DemoConfig, ServeConfig

logger = logging.getLogger(__name__)

FLAT = arg(name="")
PATH = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]


@dataclass(frozen=True, kw_only=True)
class Translate:
    """Translate a picture, a video, a folder of pictures, or an s3:// prefix."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """Model folder, or an MLflow address such as models:/maps-AtoB@champion."""
    images: Annotated[Positional[str], arg(metavar="IMAGES")]
    """A picture, a video, a folder with its subfolders, or an s3:// prefix."""
    out: str
    """Where the translations go: a folder, a file name for a single picture, or an s3:// prefix."""
    config: Annotated[TranslateConfig, FLAT] = field(default_factory=TranslateConfig)

    def run(self) -> None:
        if "://" not in self.out:
            places.writable(Path(self.out))
        logger.info("Loading %s.", redact(self.model))
        from cyclegan.inference.translate import translate

        translate(self.model, self.images, self.out, self.config)
        tell(self.out, "the translations", ["demo", self.model])


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Try models on a local web page: drop a picture and see its translation next to it."""

    models: Annotated[Positional[tuple[str, ...]], arg(metavar="[MODEL …]")] = ()
    """Model folders, exported files or MLflow addresses, shown side by side; by default the only one below
    runs/."""
    config: Annotated[DemoConfig, FLAT] = field(default_factory=DemoConfig)
    prepared: PATH = None
    """Folder that preprocess wrote, whose test sets provide the examples; by default the one next to the
    first model."""

    def run(self) -> None:
        models = self.models or (_only_model("the model's folder, such as runs/maps/model"),)
        logger.info("Preparing the page for %s; this takes a few seconds.", ", ".join(map(redact, models)))
        from cyclegan.runtime.signals import leave
        from cyclegan.serving.demo import demo

        demo(models, self.config, self.prepared or Path(models[0]).parent / "prepared")
        leave()


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve models to other programs: pictures over HTTP, and the Open Inference Protocol v2."""

    models: Annotated[Positional[tuple[str, ...]], arg(metavar="[MODEL …]")] = ()
    """Model folders, exported files or MLflow addresses, each optionally with a name for clients,
    NAME=ADDRESS; by default the only one below runs/."""
    config: Annotated[ServeConfig, FLAT] = field(default_factory=ServeConfig)

    def run(self) -> None:
        models = self.models or (_only_model("the model's folder, such as runs/maps/model"),)
        logger.info("Starting the server for %s; this takes a few seconds.", ", ".join(map(redact, models)))
        from cyclegan.runtime.signals import leave
        from cyclegan.serving.serve import serve

        serve(models, self.config)
        leave()


def _only_model(missing: str) -> str:
    """The only model below runs/; UsageError that asks for what is `missing` where there is none."""
    return str(places.run_folder(None, holding="model", missing=missing).model)


def _scores(given: Path | None, model: str) -> Path:
    """The folder of scores for a model's card: the given one, or the one next to the model."""
    scores = given or Path(model).parent / "scores"
    if given and not (scores / "scores.json").is_file():
        raise UsageError(f"--scores {given}: there is no scores.json; name the folder that evaluate wrote.")
    return scores


def _tell_without(scores: Path) -> None:
    if not (scores / "scores.json").is_file():
        logger.info("The card has no scores: use --scores to name the folder that evaluate wrote.")


@dataclass(frozen=True, kw_only=True)
class Card:
    """Print or write a model's card: what it translates, its data, scores, training command and limits."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """Model folder, or an s3:// or MLflow address."""
    scores: PATH = None
    """Folder that evaluate wrote; by default the one next to the model, if there is one."""
    license: str = ""
    """SPDX identifier of the weights' license, such as cc-by-4.0; empty: not stated."""
    out: PATH = None
    """File to write, such as README.md; otherwise the card is printed."""

    def run(self) -> None:
        if self.out:
            places.writable(self.out, file=True)
        from cyclegan.inference.write_card import write_card

        scores = _scores(self.scores, self.model)
        text = write_card(self.model, scores, self.license, self.out)
        _tell_without(scores)
        if self.out:
            tell(self.out, "the card", ["push", "hf://ORGANISATION/NAME", "--model", self.model])
        else:
            print(text)


@dataclass(frozen=True, kw_only=True)
class Push:
    """Publish a model with its card, on the Hugging Face Hub or in a folder."""

    address: Annotated[Positional[str], arg(metavar="hf://ORGANISATION/NAME|FOLDER")]
    """Where to: a repository on the Hub, created if missing, or a folder, replaced if it holds a model.
    The Hub's token is read from HF_TOKEN, or from what `hf auth login` stored."""
    model: str = ""
    """Model folder, or an s3:// or MLflow address; by default the only one below runs/."""
    scores: PATH = None
    """Folder that evaluate wrote; by default the one next to the model, if there is one."""
    license: str = ""
    """SPDX identifier of the weights' license, such as cc-by-4.0; empty: not stated."""
    private: bool = False
    """Make a new repository private."""
    half: bool = False
    """Round the weights to float16: half the size, and translations differ by less than a grey level."""
    pictures: bool = True
    """Add a few test pictures with their translations."""

    def run(self) -> None:
        if "://" not in self.address:
            places.writable(Path(self.address))
        model = self.model or _only_model("the model, such as --model runs/maps/model")
        from cyclegan.inference.push import push

        scores = _scores(self.scores, model)
        done = push(
            model,
            self.address,
            scores,
            license_id=self.license,
            private=self.private,
            half=self.half,
            pictures=self.pictures,
        )
        _tell_without(scores)
        print(done)
        tell(done, "the model", ["translate", self.address, "IMAGES", "--out", "FOLDER"])


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a model's generators to ONNX, OpenVINO IR or pt2, checked after writing."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """Model folder, or an MLflow address such as models:/maps-AtoB@champion."""
    config: Annotated[ExportConfig, FLAT] = field(default_factory=ExportConfig)
    out: PATH = None
    """Folder to write to; by default `export` next to the model folder, or in the working directory."""

    def run(self) -> None:
        here = Path() if "://" in self.model or self.model.startswith("models:") else Path(self.model).parent
        out = self.out or here / "export"
        places.writable(out)
        logger.info("Exporting %s; each file is checked after writing.", redact(self.model))
        from cyclegan.inference.export import export

        files = export(self.model, out, self.config)
        for file in files:
            print(file)
        if self.config.format != "pt2" and self.config.images == "float":
            tell(out, "the exported generators", ["translate", files[0], "IMAGES", "--out", "FOLDER"])
        else:
            tell(out, "the exported generators")


@dataclass(frozen=True, kw_only=True)
class ImportWeights:
    """Make a model folder from ResNet generators saved by the reference implementation."""

    config: Annotated[ImportConfig, FLAT] = field(default_factory=ImportConfig)
    out: Path = places.RUNS / "imported" / "model"
    """Folder to write the generators to."""

    def run(self) -> None:
        places.writable(self.out)
        guard_model(self.out)
        if not (self.config.AtoB or self.config.BtoA):
            raise UsageError("Name the files: --AtoB latest_net_G_A.pth --BtoA latest_net_G_B.pth, or one.")
        for file, flag in ((self.config.AtoB, "--AtoB"), (self.config.BtoA, "--BtoA")):
            if file:
                preflight.check_address(file, flag)
        from cyclegan.inference.import_reference import import_weights

        import_weights(self.out, self.config)
        tell(self.out, "the generators", ["translate", self.out, "IMAGES", "--out", "FOLDER"])
