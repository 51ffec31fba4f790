"""`cyclegan init`: a project folder around two domains of images, with parameters that fit them."""

from __future__ import annotations

import logging
import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from string import Template
from typing import Any

from cyclegan.cli.params import config_from, preset_file, read_params
from cyclegan.cli.places import writable
from cyclegan.cli.preflight import least_side
from cyclegan.data.config import FetchConfig, InspectConfig
from cyclegan.errors import UsageError
from cyclegan.training.config import TrainConfig

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).resolve().parent / "project"
CPU_UPDATES = 30_000  # what a laptop's CPU does in an afternoon
SPEEDS = (3.4, 1.5)  # images/s of the laptop preset: two quiet cores with AVX-512 BF16, one busy one
IDENTITY_COST = 1.5  # an update with identity loss against one without
MOST_EPOCHS = 200
LOOKED_AT = 200  # images of a domain whose size is read


@dataclass(frozen=True)
class Facts:
    """What the choice of parameters depends on."""

    counts: dict[str, int]
    """Images by subset."""
    short_side: int
    """Median of the images' shorter sides, in pixels."""
    gpu: bool


def choose(facts: Facts, preset: str, name: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Sections of params.yaml for these data, from a preset, and a sentence on what training will cost.

    Images are packed at most at their own size, the discriminators have no more layers than these allow, and
    an epoch count is chosen that a CPU finishes.
    """
    sections = read_params(preset_file(preset))
    train, preprocess = sections["train"], sections["preprocess"]
    multiple = 32 if train.get("generator") == "vgg_unet" else 4
    fits = max(multiple, facts.short_side // multiple * multiple)
    preprocess["load_size"] = min(preprocess["load_size"], fits)
    train["crop_size"] = min(train.get("crop_size", 0), fits)
    larger = max(facts.counts["trainA"], facts.counts["trainB"])
    if not facts.gpu:
        half = max(1, min(MOST_EPOCHS, round(CPU_UPDATES / larger)) // 2)
        train["epochs"] = train["decay_epochs"] = half
    updates = larger * (train["epochs"] + train["decay_epochs"]) // train.get("batch_size", 1)
    cost = f"Training takes {updates:,} updates"
    if preset.startswith("laptop"):
        factor = IDENTITY_COST if train.get("lambda_identity") else 1.0
        fast, slow = (updates * factor / speed / 3600 for speed in SPEEDS)
        cost += f": about {fast:.1f} hours on two quiet cores with AVX-512 BF16, {slow:.1f} on a slower CPU"
    side = train["crop_size"] or preprocess["load_size"]
    config = config_from(TrainConfig, train, f"The preset '{preset}'")
    while least_side(config) > side and config.discriminator_layers > 1:
        train["discriminator_layers"] = config.discriminator_layers - 1
        config = config_from(TrainConfig, train, f"The preset '{preset}'")
    sections["fetch"] = {"source": "data"}
    sections["evaluate"] = sections.get("evaluate", {}) | {"champion": f"models:/{name}"}
    sections["register"] = {"name": name}
    order = ("fetch", "preprocess", "train", "evaluate", "register")
    return {step: sections[step] for step in order}, f"{cost}."


def init(folder: Path, source: FetchConfig, preset: str) -> None:
    """Make the project `folder`: images in data/, parameters, a DVC pipeline, a page about the images.

    Nothing is left behind where it fails. Raises UsageError for a folder that is not empty.
    """
    from cyclegan.data.fetch.fetch import fetch
    from cyclegan.data.inspect.inspect import as_table, inspect
    from cyclegan.registry.config import RegisterConfig

    name = folder.resolve().name
    RegisterConfig(name=name)
    writable(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty: name a new folder.")
    existed = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fetched = fetch(folder / "data", source)
        gpu = has_gpu()
        preset = preset or ("monet2photo" if gpu else "laptop-photos")
        facts = Facts(fetched.counts, _short_side(folder / "data"), gpu)
        sections, cost = choose(facts, preset, name)
        _write(folder, sections, preset, name, facts, cost)
        print(as_table(inspect(folder / "data", folder / "inspect.html", InspectConfig())))
    except BaseException:
        if existed:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    logger.info("\nParameters from the preset '%s'. %s", preset, cost)


def has_gpu() -> bool:
    """Whether NVIDIA's driver is loaded; asked without torch, which would take seconds."""
    return Path("/proc/driver/nvidia/version").exists()


def _short_side(data: Path) -> int:
    from cyclegan.data.decode import open_image
    from cyclegan.data.errors import BadImage
    from cyclegan.data.layout.files import is_image, list_files

    sides = []
    for subset in ("trainA", "trainB"):
        names = [name for name in list_files(data / subset) if is_image(name)]
        for file in names[:: -(-len(names) // LOOKED_AT)]:
            # inspect and preprocess say what is wrong with it
            with suppress(BadImage), warnings.catch_warnings(action="ignore"):
                sides.append(min(open_image((data / subset / file).read_bytes()).size))
    if not sides:
        raise UsageError("None of the images can be read: `cyclegan inspect FOLDER` says why.")
    return int(median(sides))


def _write(
    folder: Path, sections: dict[str, dict[str, Any]], preset: str, name: str, facts: Facts, cost: str
) -> None:
    from ruamel.yaml import YAML

    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        file.write(f"# Chosen for these images from the preset {preset}. {cost}\n")
        YAML().dump(sections, file)
    counts = ", ".join(f"{subset} {count}" for subset, count in facts.counts.items())
    readme = Template((TEMPLATES / "README.md").read_text(encoding="utf-8"))
    (folder / "README.md").write_text(
        readme.substitute(name=name, counts=counts, estimate=cost), encoding="utf-8"
    )
    shutil.copyfile(TEMPLATES / "dvc.yaml.template", folder / "dvc.yaml")
    shutil.copyfile(TEMPLATES / "gitignore", folder / ".gitignore")
    shutil.copyfile(TEMPLATES / "dvcignore", folder / ".dvcignore")
    in_git = any((above / ".git").exists() for above in (folder.resolve(), *folder.resolve().parents))
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n", encoding="utf-8")
    (folder / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n"
        + ("" if in_git else "    no_scm = true\n")
        + "[parsing]\n    bool = boolean_optional\n",
        encoding="utf-8",
    )
