"""The verbs of the `cyclegan` command: each a dataclass of paths and one config, and the step that it calls.

Nothing heavy is imported until a verb runs, so that `--help` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cyclegan.data.config import FetchConfig, InspectConfig, PreprocessConfig
from cyclegan.errors import UsageError
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.inference.config import ImportConfig
from cyclegan.inference.export import ExportConfig
from cyclegan.inference.translate import TranslateConfig
from cyclegan.registry.compare import CompareConfig
from cyclegan.registry.config import RegisterConfig
from cyclegan.training.config import TrainConfig

RAW = Path("data")
PREPARED = Path("outputs/prepared")
MODEL = Path("outputs/model")
SCORES = Path("outputs/scores")
REGISTRATION = Path("outputs/registration.json")
CHECKPOINTS = "outputs/checkpoints"

FLAT = arg(name="")


# which section of a parameter file gives a config its values
SECTIONS: dict[type, str] = {
    FetchConfig: "fetch",
    PreprocessConfig: "preprocess",
    TrainConfig: "train",
    EvaluateConfig: "evaluate",
    RegisterConfig: "register",
}


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Fetch two domains of images by URI: a folder, an archive, https, s3, a DVC version, synthetic:city."""

    config: Annotated[FetchConfig, FLAT] = field(default_factory=FetchConfig)
    out: Path = RAW
    """Folder to write."""

    def run(self) -> None:
        from cyclegan.data.fetch.fetch import fetch

        fetch(self.out, self.config)


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Validate, orient, resize and pack the images of a raw folder."""

    config: Annotated[PreprocessConfig, FLAT] = field(default_factory=PreprocessConfig)
    raw: Path = RAW
    """Folder with trainA trainB testA testB."""
    out: Path = PREPARED
    """Folder to write."""

    def run(self) -> None:
        from cyclegan.data.preprocess.preprocess import preprocess

        preprocess(self.raw, self.out, self.config)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train both generators; the same command again continues after an interruption."""

    config: Annotated[TrainConfig, FLAT] = field(default_factory=TrainConfig)
    prepared: Path = PREPARED
    """Folder that preprocess wrote."""
    model: Path = MODEL
    """Folder to write the generators to."""
    checkpoints: str = CHECKPOINTS
    """Folder or s3:// address for checkpoints."""

    def run(self) -> None:
        from cyclegan.training.train import train

        train(self.prepared, self.model, self.config, checkpoints=self.checkpoints)


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a model on the test images and write a report."""

    config: Annotated[EvaluateConfig, FLAT] = field(default_factory=EvaluateConfig)
    prepared: Path = PREPARED
    """Folder that preprocess wrote."""
    model: Path = MODEL
    """Folder that train wrote."""
    out: Path = SCORES
    """Folder to write scores.json and report.html to."""

    def run(self) -> None:
        from cyclegan.evaluation.evaluate import evaluate

        evaluate(self.prepared, self.model, self.out, self.config)


@dataclass(frozen=True, kw_only=True)
class Register:
    """Register both generators in the MLflow model registry, as champion or challenger."""

    config: Annotated[RegisterConfig, FLAT] = field(default_factory=RegisterConfig)
    model: Path = MODEL
    """Folder that train wrote."""
    scores: Path = SCORES
    """Folder that evaluate wrote."""
    out: Path = REGISTRATION
    """JSON file to write the decision to."""

    def run(self) -> None:
        from cyclegan.registry.register import register

        register(self.model, self.scores, self.out, self.config)


@dataclass(frozen=True, kw_only=True)
class Run:
    """All five steps in one go: fetch, preprocess, train, evaluate, register."""

    fetch: FetchConfig = field(default_factory=FetchConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    register: RegisterConfig = field(default_factory=RegisterConfig)
    out: Path = Path("outputs")
    """Folder for everything that the steps write."""

    def run(self) -> None:
        from cyclegan.cli.run_all import run

        run(self.out, self.fetch, self.preprocess, self.train, self.evaluate, self.register)


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Look at a dataset before training on it: a table and a page of what is in it, and what is wrong."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")] = RAW
    """Folder of images, in any layout that fetch understands."""
    config: Annotated[InspectConfig, FLAT] = field(default_factory=InspectConfig)
    report: Path = Path("outputs/inspect.html")
    """Page to write."""

    def run(self) -> None:
        from cyclegan.data.inspect.inspect import as_table, inspect

        print(as_table(inspect(self.folder, self.report, self.config)))
        print(f"\n{self.report}")


@dataclass(frozen=True, kw_only=True)
class Translate:
    """Translate a picture, a folder of pictures, or an s3:// prefix."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """Model folder, or an MLflow address such as models:/cyclegan-AtoB@champion."""
    images: Annotated[Positional[str], arg(metavar="IMAGES")]
    """A picture, a folder with all below it, or an s3:// prefix."""
    out: str
    """Where the translations go: a folder or an s3:// prefix."""
    config: Annotated[TranslateConfig, FLAT] = field(default_factory=TranslateConfig)

    def run(self) -> None:
        from cyclegan.inference.translate import translate

        translate(self.model, self.images, self.out, self.config)


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare MLflow runs: scores in a table, pictures side by side on a page."""

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="[RUN …]")] = ()
    """Ids or names of runs."""
    config: Annotated[CompareConfig, FLAT] = field(default_factory=CompareConfig)
    out: Path = Path("outputs/compare.html")
    """Page to write."""

    def run(self) -> None:
        from cyclegan.registry.compare import compare

        print(compare(self.runs, self.out, self.config))


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a model's generators to ONNX or pt2, checked after writing."""

    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """Model folder, or an MLflow address such as models:/cyclegan-AtoB@champion."""
    config: Annotated[ExportConfig, FLAT] = field(default_factory=ExportConfig)
    out: Path = Path("outputs/export")
    """Folder to write to."""

    def run(self) -> None:
        from cyclegan.inference.export import export

        for file in export(self.model, self.out, self.config):
            print(file)


@dataclass(frozen=True, kw_only=True)
class ImportWeights:
    """Make a model folder of ResNet generators saved by the reference implementation."""

    config: Annotated[ImportConfig, FLAT] = field(default_factory=ImportConfig)
    out: Path = MODEL
    """Folder to write the generators to."""

    def run(self) -> None:
        from cyclegan.inference.import_reference import import_weights

        if not (self.config.AtoB and self.config.BtoA):
            raise UsageError("Both files are needed: --AtoB latest_net_G_A.pth --BtoA latest_net_G_B.pth.")
        import_weights(self.out, self.config)


COMMANDS: dict[str, type] = {
    "run": Run,
    "fetch": Fetch,
    "inspect": Inspect,
    "preprocess": Preprocess,
    "train": Train,
    "evaluate": Evaluate,
    "register": Register,
    "compare": Compare,
    "translate": Translate,
    "export": Export,
    "import-weights": ImportWeights,
}
