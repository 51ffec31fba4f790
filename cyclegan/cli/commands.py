"""The commands of `cyclegan`: each a dataclass of paths and one config, and the step that it calls.

Nothing heavy is imported until a command runs, so that `--help` and wrong usage are answered at once.
"""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from cyclegan.cli import experiments, offer_weights, places, preflight
from cyclegan.cli.next_steps import tell
from cyclegan.cli.params import layers, load_layers, preset_file
from cyclegan.cli.use_model import FLAT, PATH, Card, Demo, Export, ImportWeights, Push, Serve, Translate
from cyclegan.data.config import FetchConfig, InspectConfig, PreprocessConfig
from cyclegan.errors import UsageError
from cyclegan.evaluation.config import EvaluateConfig
from cyclegan.model_config import guard_model
from cyclegan.registry.config import CompareConfig, RegisterConfig
from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)

RUN = Annotated[Positional[Path | None], arg(metavar="[RUN]", help_behavior_hint="")]

# which section of a parameter file gives a config its values
SECTIONS: dict[type, str] = {
    FetchConfig: "fetch",
    PreprocessConfig: "preprocess",
    TrainConfig: "train",
    EvaluateConfig: "evaluate",
    RegisterConfig: "register",
}


@dataclass(frozen=True, kw_only=True)
class FromFile:
    """Where a command's defaults come from. `main` reads both flags before the others are parsed."""

    preset: Annotated[str, arg(metavar="NAME", help_behavior_hint="")] = ""
    """Preset to take defaults from; `cyclegan presets` lists them."""
    params: PATH = None
    """Parameter file to take defaults from, such as params.yaml; it overrides a preset."""

    def source(self) -> list[str | Path]:
        """The flags by which the next command takes the same defaults."""
        words: list[str | Path] = ["--preset", self.preset] if self.preset else []
        return [*words, "--params", self.params] if self.params else words

    def one_source(self, given: FetchConfig) -> FetchConfig:
        """`given` with one source of images, as `preflight.one_source` says."""
        files = layers(self.preset or None, self.params)
        return preflight.one_source(given, load_layers(files, SECTIONS[FetchConfig], FetchConfig))


@dataclass(frozen=True, kw_only=True)
class Fetch(FromFile):
    """Fetch two domains of images by URI: a folder, an archive, https, s3, a DVC version, synthetic:city."""

    config: Annotated[FetchConfig, FLAT] = field(default_factory=FetchConfig)
    out: PATH = None
    """Folder to write; by default datasets/NAME, such as datasets/maps."""

    def run(self) -> None:
        config = self.one_source(self.config)
        out = self.out or places.dataset_folder(config)
        from cyclegan.data.fetch.fetch import fetch

        fetch(out, config)
        tell(out, "the images", ["inspect", out], ["preprocess", out, *self.source()])


@dataclass(frozen=True, kw_only=True)
class Preprocess(FromFile):
    """Validate, orient, resize and pack the images of a dataset."""

    dataset: Annotated[Positional[Path | None], arg(metavar="[DATASET]", help_behavior_hint="")] = None
    """Folder with trainA trainB testA testB; by default the only one below datasets/."""
    config: Annotated[PreprocessConfig, FLAT] = field(default_factory=PreprocessConfig)
    raw: PATH = None
    """Same as DATASET, as a flag."""
    out: PATH = None
    """Folder to write; by default runs/DATASET/prepared."""

    def run(self) -> None:
        raw = places.choose_dataset(self.dataset, self.raw)
        run = places.RunFolder(places.RUNS / raw.resolve().name)
        out = self.out or run.prepared
        places.writable(out)
        from cyclegan.data.preprocess.preprocess import preprocess

        preprocess(raw, out, self.config)
        then = places.RunFolder(out.parent).arguments(prepared=out)
        tell(out, "the packed images", ["train", *then, *self.source()])


@dataclass(frozen=True, kw_only=True)
class Train(FromFile):
    """Train both generators; after an interruption, the same command resumes."""

    folder: RUN = None
    """Folder of the run, such as runs/maps; by default the only one below runs/."""
    config: Annotated[TrainConfig, FLAT] = field(default_factory=TrainConfig)
    prepared: PATH = None
    """Folder that preprocess wrote; by default RUN/prepared."""
    model: PATH = None
    """Folder to write the generators to; by default RUN/model."""
    checkpoints: Annotated[str | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Folder or s3:// address for checkpoints; by default RUN/checkpoints."""

    def run(self) -> None:
        run = places.run_folder(self.folder, self.prepared, holding="prepared")
        prepared, model = self.prepared or run.prepared, self.model or run.model
        checkpoints = self.checkpoints or run.checkpoints
        places.writable(model)
        guard_model(model)
        data = preflight.check_train(prepared, self.config, checkpoints)
        try:
            preflight.check_test_images(data)
        except UsageError as error:  # a model can be trained and used all the same
            logger.warning("%s", error)
        preflight.check_disk(self.config, data, checkpoints, model)
        experiments.name_experiment(data)
        logger.info("Training on %s.", prepared)
        from cyclegan.training.train import train

        train(prepared, model, self.config, checkpoints=checkpoints)
        use: list[str | Path] = ["translate", model, "IMAGES", "--out", "FOLDER"]
        then = run.arguments(prepared=prepared, model=model)
        tell(model, "the generators", ["evaluate", *then, *self.source()], use)


@dataclass(frozen=True, kw_only=True)
class Evaluate(FromFile):
    """Score a model on the test images and write a report."""

    folder: RUN = None
    """Folder of the run, such as runs/maps; by default the only one below runs/."""
    config: Annotated[EvaluateConfig, FLAT] = field(default_factory=EvaluateConfig)
    prepared: PATH = None
    """Folder that preprocess wrote; by default RUN/prepared."""
    model: PATH = None
    """Folder that train wrote; by default RUN/model."""
    out: PATH = None
    """Folder to write scores.json and report.html to; by default RUN/scores."""

    def run(self) -> None:
        run = places.run_folder(self.folder, self.model, self.prepared, holding="model")
        out = self.out or run.scores
        places.writable(out)
        prepared, model = self.prepared or run.prepared, self.model or run.model
        from cyclegan.data.prepared import Prepared

        data = Prepared.open(prepared)
        preflight.check_test_images(data)
        preflight.check_model(model)
        preflight.check_evaluate(self.config, data.kinds)
        preflight.check_tracking()
        offer_weights.offer_evaluation_weights(self.config, data.kinds)
        logger.info("Scoring %s on the test images of %s.", model, prepared)
        from cyclegan.evaluation.evaluate import evaluate

        evaluate(prepared, model, out, self.config)
        then = run.arguments(model=model, scores=out)
        tell(out / "report.html", "the report", ["register", *then, *self.source()])


@dataclass(frozen=True, kw_only=True)
class Register(FromFile):
    """Register both generators in the MLflow model registry, as champion or challenger."""

    folder: RUN = None
    """Folder of the run, such as runs/maps; by default the only one below runs/."""
    config: Annotated[RegisterConfig, FLAT] = field(default_factory=RegisterConfig)
    model: PATH = None
    """Folder that train wrote; by default RUN/model."""
    scores: PATH = None
    """Folder that evaluate wrote; by default RUN/scores."""
    out: PATH = None
    """JSON file to write the decision to; by default RUN/registration.json."""

    def run(self) -> None:
        run = places.run_folder(self.folder, self.model, self.scores, holding="scores")
        out = self.out or run.registration
        places.writable(out, file=True)
        model = self.model or run.model
        preflight.check_model(model)
        preflight.check_tracking()
        logger.info("Comparing %s with the registered champion.", model)
        from cyclegan.registry.register import register

        done = register(model, self.scores or run.scores, out, self.config)
        if done.alias:
            address = f"models:/{done.name}-AtoB@{done.alias}"
            tell(out, "the decision", ["ui"], ["translate", address, "IMAGES", "--out", "FOLDER"])
        else:
            tell(out, "the decision", ["ui"])


@dataclass(frozen=True, kw_only=True)
class Run(FromFile):
    """All five steps in one go: fetch, preprocess, train, evaluate, register."""

    a: str = ""
    """Folder of images for domain A, as --fetch.a."""
    b: str = ""
    """Folder of images for domain B, as --fetch.b."""
    fetch: FetchConfig = field(default_factory=FetchConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    register: RegisterConfig = field(default_factory=RegisterConfig)
    out: PATH = None
    """Folder for all outputs; by default runs/NAME, such as runs/maps."""

    def run(self) -> None:
        fetch = replace(self.fetch, a=self.a, b=self.b) if self.a or self.b else self.fetch
        fetch = self.one_source(fetch)
        out = self.out or places.RUNS / places.name_of(fetch)
        places.writable(out)
        guard_model(out / "model")
        from cyclegan.cli.run_all import run

        run(out, fetch, self.preprocess, self.train, self.evaluate, self.register)


@dataclass(frozen=True, kw_only=True)
class Init:
    """Create a project folder from your images, with parameters chosen for them and for this machine."""

    folder: Annotated[Positional[Path], arg(metavar="NAME")]
    """Folder to create; models are registered under the same name."""
    a: str = ""
    """Folder of images for domain A."""
    b: str = ""
    """Folder of images for domain B."""
    source: str = ""
    """Instead of a and b: any source that fetch takes."""
    preset: Annotated[str, arg(metavar="NAME", help_behavior_hint="")] = ""
    """Preset to start from; by default the one that fits the machine."""

    def run(self) -> None:
        if not (self.source or self.a or self.b):
            raise UsageError("Name the images: --a photos/ --b paintings/, or --source for other places.")
        if self.source and (self.a or self.b):
            raise UsageError("Pass either --source or --a and --b: the images come from one or the other.")
        if self.preset:
            preset_file(self.preset)
        from cyclegan.cli.init import init

        given = FetchConfig(source=self.source) if self.source else FetchConfig(a=self.a, b=self.b)
        init(self.folder, given, self.preset)
        logger.info("\nThe project: %s", self.folder)
        logger.info("Next: cd %s && cyclegan run", shlex.quote(str(self.folder)))


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Check a dataset before training: a table and a page of what it contains and what is wrong with it."""

    folder: Annotated[Positional[Path | None], arg(metavar="[FOLDER]", help_behavior_hint="")] = None
    """Folder of images, in any layout that fetch understands; by default the only one below datasets/."""
    config: Annotated[InspectConfig, FLAT] = field(default_factory=InspectConfig)
    report: PATH = None
    """Page to write; by default runs/FOLDER/inspect.html."""

    def run(self) -> None:
        folder = places.choose_dataset(self.folder)
        report = self.report or places.RUNS / folder.resolve().name / "inspect.html"
        places.writable(report, file=True)
        from cyclegan.data.inspect.inspect import as_table, inspect

        print(as_table(inspect(folder, report, self.config)))
        tell(report, "the page", ["preprocess", folder])


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare MLflow runs: scores in a table, pictures side by side on a page."""

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="[RUN …]")] = ()
    """IDs or names of runs."""
    config: Annotated[CompareConfig, FLAT] = field(default_factory=CompareConfig)
    out: Path = places.RUNS / "compare.html"
    """Page to write."""

    def run(self) -> None:
        places.writable(self.out, file=True)
        logger.info("Reading the runs from MLflow.")
        from cyclegan.registry.compare import compare

        print(compare(self.runs, self.out, self.config))
        tell(self.out, "the page", ["ui"])


@dataclass(frozen=True, kw_only=True)
class Presets:
    """List the presets: what each is for and what it costs."""

    def run(self) -> None:
        from cyclegan.cli.params import about, preset_names

        for name in preset_names():
            facts = about(name)
            print(f"{name}\n    {facts['purpose']}\n    {facts['cost']}\n")
        print("Use one with `--preset NAME`; flags after it override single values.")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Download the Inception weights that FID and KID need, once for this machine (95 MB)."""

    def run(self) -> None:
        from cyclegan.evaluation.extractors.inception_weights import cached_file, load_weights

        if cached_file() is None:
            load_weights()
        print(cached_file())
        tell(cached_file() or "", "the weights", ["evaluate", "RUN"])


@dataclass(frozen=True, kw_only=True)
class Ui:
    """Show the MLflow UI of this machine's runs in the browser, until Ctrl-C."""

    port: int = 0
    """Port on this machine; 0: 5000, or the next free one."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port = {self.port}: it must be between 0 and 65535.")

    def run(self) -> None:
        if find_spec("mlflow") is None:
            raise UsageError("The UI needs MLflow: pip install 'cyclegan-pipeline[mlflow]'.")
        logger.info("Starting the MLflow UI; this takes a few seconds.")
        from cyclegan.tracking.ui import serve

        serve(self.port, lambda line: print(line, flush=True))


COMMANDS: dict[str, type] = {
    "init": Init,
    "run": Run,
    "fetch": Fetch,
    "inspect": Inspect,
    "preprocess": Preprocess,
    "train": Train,
    "evaluate": Evaluate,
    "register": Register,
    "presets": Presets,
    "weights": Weights,
    "ui": Ui,
    "compare": Compare,
    "translate": Translate,
    "demo": Demo,
    "serve": Serve,
    "card": Card,
    "push": Push,
    "export": Export,
    "import-weights": ImportWeights,
}
