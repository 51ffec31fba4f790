"""A model with its card and pictures, uploaded to the Hugging Face Hub."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from cyclegan.errors import UsageError
from cyclegan.inference.hub import hub_errors, parse
from cyclegan.inference.translator import directions_of, model_folder
from cyclegan.inference.write_card import SAMPLES, sample_pictures, write_card

logger = logging.getLogger(__name__)


def push(model: str, address: str, scores: Path, *, license_id: str = "", private: bool = False) -> str:
    """Upload a model's generators with its card and a few translated test pictures; returns its page.

    The repository is made if it is missing. Raises UsageError where there is no model or the address is
    wrong, CycleGANError where the Hub refuses or cannot be reached.
    """
    repo, revision = parse(address)
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for direction in directions_of(model):
            with model_folder(model, direction) as (source, _):
                for name in ("config.json", f"{direction}.safetensors"):
                    if not (source / name).is_file():
                        raise UsageError(f"There is no model in {model}: it has no {name}.")
                    shutil.copyfile(source / name, folder / name)
        pictures = folder / "pictures"
        pictures.mkdir()
        for pair in sample_pictures(scores, SAMPLES):
            for picture in pair:
                shutil.copyfile(picture, pictures / picture.name)
        write_card(
            str(folder), scores, license_id, folder / "README.md", pictures=pictures, load_from=f"hf://{repo}"
        )
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
