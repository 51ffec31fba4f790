"""A model with its card and pictures, to be given to others: in a folder, or on the Hugging Face Hub."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import torch

from cyclegan.errors import UsageError, first_line
from cyclegan.inference.hub import hub_errors, parse
from cyclegan.inference.translator import directions_of, model_folder
from cyclegan.inference.write_card import SAMPLES, sample_pictures, write_card
from cyclegan.io.files import atomic_dir, guard_folder
from cyclegan.io.weights import write_weights

logger = logging.getLogger(__name__)


SCHEMES = ("hf:", "http:", "https:", "s3:")
"""What begins so is not a folder but an address with a slash too few, perhaps with a password in it."""
CONTENT = frozenset({"AtoB.safetensors", "BtoA.safetensors", "config.json", "README.md", "pictures"})


def push(
    model: str,
    address: str,
    scores: Path,
    *,
    license_id: str = "",
    private: bool = False,
    half: bool = False,
    pictures: bool = True,
) -> str:
    """Publish a model's generators with its card; returns the page on the Hub, or the folder.

    `address` is an hf:// address, whose repository is made if it is missing, or a folder, which is replaced
    as a whole. `half` rounds the weights to float16; `pictures` adds a few translated test pictures. Raises
    UsageError where there is no model, the address is wrong or the folder holds something else, CycleGANError
    where the Hub refuses or cannot be reached.
    """
    if "://" not in address and not address.lower().startswith(SCHEMES):
        folder = Path(address)
        guard_folder(folder, "the model", CONTENT)
        with atomic_dir(folder, durable=True) as temporary:
            _pack(model, temporary, scores, license_id, str(folder), half=half, pictures=pictures)
        return address
    repo, revision = parse(address)
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _pack(model, folder, scores, license_id, f"hf://{repo}", half=half, pictures=pictures)
        api = HfApi()
        with hub_errors(address):
            api.create_repo(repo, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                revision=revision,
                commit_message="Upload the model and its card",
            )
    logger.info("%s is now commit %s.", address, done.oid)
    return str(api.endpoint) + "/" + repo


def _pack(
    model: str, folder: Path, scores: Path, license_id: str, load_from: str, *, half: bool, pictures: bool
) -> None:
    """Write into `folder` what others need of a model."""
    for direction in directions_of(model):
        with model_folder(model, direction) as (source, _):
            for name in ("config.json", f"{direction}.safetensors"):
                if not (source / name).is_file():
                    raise UsageError(f"There is no model in {model}: it has no {name}.")
                shutil.copyfile(source / name, folder / name)
        if half:
            _round_to_half(folder / f"{direction}.safetensors", model)
    shown = folder / "pictures"
    if pictures and (pairs := sample_pictures(scores, SAMPLES)):
        shown.mkdir()
        for pair in pairs:
            for picture in pair:
                shutil.copyfile(picture, shown / picture.name)
    write_card(str(folder), scores, license_id, folder / "README.md", pictures=shown, load_from=load_from)


def _round_to_half(path: Path, model: str) -> None:
    """Replace the weights in a file by float16 ones; UsageError where one is beyond its range."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        rounded = {name: tensor.to(torch.float16) for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise UsageError(f"The model in {model} is damaged: {first_line(error)}.") from None
    if not all(bool(tensor.isfinite().all()) for tensor in rounded.values()):
        raise UsageError(
            f"The model in {model} has weights beyond float16's range: publish it without --half."
        )
    write_weights(path, rounded, path.name)
