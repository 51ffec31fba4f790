"""One generator as a version of a registered model: exported without pickle, checked, uploaded, tagged."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.errors import CycleGANError
from cyclegan.io.uri import redact
from cyclegan.model import DIRECTIONS, Direction, Model
from cyclegan.tracking.base import flatten

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # of [-1, 1]; half of one grey level is 4e-3


def publish(
    client: MlflowClient,
    name: str,
    direction: Direction,
    model: Model,
    folder: Path,
    run_id: str,
    tags: dict[str, str],
    scores: dict[str, float],
) -> str:
    """Make the generator a version of `<name>-<direction>` and return its number.

    Where a version of these weights is there already its tags are renewed and its number returned.
    """
    own = {key: value for key, value in scores.items() if _concerns(key, direction)}
    tags = tags | {"scores": json.dumps(own)}
    registered = f"{name}-{direction}"
    if version := _version_of(client, registered, tags["fingerprint"]):
        for key, value in tags.items():
            if version.tags.get(key) != value:
                client.set_model_version_tag(registered, version.version, key, value)
        return str(version.version)
    model_id = _log_model(registered, direction, model, folder, run_id, tags, own)
    _ensure_registered_model(client, registered, direction, model)
    version = client.create_model_version(
        registered,
        source=f"models:/{model_id}",
        run_id=run_id,
        tags=tags,
        model_id=model_id,
    )
    return str(version.version)


def note_verdict(
    client: MlflowClient,
    name: str,
    versions: dict[str, str],
    model: Model,
    tags: dict[str, str],
    scores: dict[str, float],
    verdict: str,
) -> None:
    """Write what was decided about a pair into both versions' tag `verdict` and description."""
    for direction in DIRECTIONS:
        registered = f"{name}-{direction}"
        own = {key: value for key, value in scores.items() if _concerns(key, direction)}
        client.set_model_version_tag(registered, versions[direction], "verdict", verdict)
        text = f"{describe(model, tags['data_version'], verdict)}\n\n{_as_table(own)}"
        client.update_model_version(registered, versions[direction], text)


def _concerns(metric: str, direction: Direction) -> bool:
    """Whether a score is about this direction: those of the other one carry its name."""
    return not any(other in metric for other in DIRECTIONS if other != direction)


def _version_of(client: MlflowClient, registered: str, fingerprint: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{registered}' and tags.fingerprint = '{fingerprint}'")
    return max(found, key=lambda version: int(version.version), default=None)


def _ensure_registered_model(
    client: MlflowClient, registered: str, direction: Direction, model: Model
) -> None:
    import mlflow

    source, target = ("A", "B") if direction == "AtoB" else ("B", "A")
    data = (model.config.get("data") or {}).get("uri", "")
    text = (
        f"CycleGAN generator from domain {source} to domain {target}, first trained on "
        f"`{redact(data)}`. Input and output: RGB in [-1, 1], float32, N×3×H×W, sides a multiple of "
        f"{model.multiple}. Use it: `cyclegan translate models:/{registered}@champion IMAGES --out OUT`."
    )
    try:
        client.create_registered_model(registered, description=text)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _log_model(
    registered: str,
    direction: Direction,
    model: Model,
    folder: Path,
    run_id: str,
    tags: dict[str, str],
    scores: dict[str, float],
) -> str:
    """Store the generator as a logged model of the run, with its scores, and return its id.

    Done in the steps of `mlflow.pytorch.log_model`, which would fetch the whole history of every metric of
    the run and gives no chance to check the exported program before it is uploaded.
    """
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput, Metric

    train = flatten(model.config.get("train") or {}, "train")
    logged = mlflow.initialize_logged_model(
        registered, source_run_id=run_id, params=train, tags=tags, model_type="image-to-image"
    )
    client = MlflowClient()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model"
        _save(path, logged, direction, model, folder, run_id)
        client.log_model_artifacts(logged.model_id, str(path))
    mlflow.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    now = time.time_ns() // 1_000_000
    metrics = [
        Metric(key, value, now, 0, model_id=logged.model_id, run_id=run_id) for key, value in scores.items()
    ]
    client.log_batch(run_id, metrics=metrics)
    return str(logged.model_id)


def _save(path: Path, logged: Any, direction: Direction, model: Model, folder: Path, run_id: str) -> None:
    import mlflow
    import numpy as np
    from mlflow.models import Model as Description
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    generator = model[direction]
    example = example_input(model.multiple)
    spec = Schema([TensorSpec(np.dtype("float32"), (-1, 3, -1, -1))])
    mlflow.pytorch.save_model(
        generator,
        str(path),
        mlflow_model=Description(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=run_id,
            model_id=logged.model_id,
        ),
        signature=ModelSignature(inputs=spec, outputs=spec),
        input_example=example,
        pip_requirements=pip_requirements(),
        serialization_format="pt2",
        extra_files=[str(folder / f"{direction}.safetensors"), str(folder / "config.json")],
        metadata={"direction": direction, "multiple": model.multiple},
    )
    _check(path, generator, example)


def _check(path: Path, generator: Any, example: np.ndarray) -> None:
    """What will be uploaded loads and computes the same, also at another size than it was exported with."""
    import mlflow
    import torch

    program = mlflow.pytorch.load_model(str(path))
    small = torch.from_numpy(example)
    for images in (small, torch.cat([small, small.flip(3)], dim=3)[:1]):
        with torch.no_grad():
            difference = (program(images) - generator(images)).abs().max().item()
        if not difference < TOLERANCE:
            raise CycleGANError(f"The exported generator differs from the trained one by {difference:.2g}.")


def example_input(multiple: int) -> np.ndarray:
    """A small batch, float32 2×3×S×S in [-1, 1], in steps of 1/8 since it is stored as text.

    Two images, for torch.export takes a size of one for a constant; a side of at least two multiples,
    since normalisation needs more than one position.
    """
    import numpy as np

    side = max(16, 2 * multiple)
    ramp = np.linspace(-1, 1, side)
    image = np.stack([np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.zeros((side, side))])
    return (np.round(np.stack([image, -image]) * 8) / 8).astype(np.float32)


def pip_requirements() -> list[str]:
    """What the exported program needs; without this MLflow loads the model once more to find out."""
    import numpy
    import torch

    return [f"torch=={torch.__version__.split('+')[0]}", f"numpy=={numpy.__version__}"]


def describe(model: Model, data_version: str, verdict: str = "") -> str:
    """What the model is and, once that is decided, what became of it, in Markdown."""
    data = redact((model.config.get("data") or {}).get("uri", ""))
    epochs, seed, size = model.config.get("epochs", "?"), model.config.get("seed", "?"), "the prepared size"
    if model.config.get("image_size"):
        size = "{}×{} pixels".format(*model.test_size(0, 0))
    return (
        f"`{model.config['generator']['name']}` trained for {epochs} epochs on `{data}` (version "
        f"`{data_version}`) at the scale of images of {size}, seed {seed}."
        + (f"\n\nVerdict: {verdict}." if verdict else "")
    )


def _as_table(scores: dict[str, float]) -> str:
    rows = (f"| {name} | {value:.4g} |" for name, value in scores.items() if not name.endswith("_se"))
    return "\n".join(["| score | value |", "|---|---|", *rows])
