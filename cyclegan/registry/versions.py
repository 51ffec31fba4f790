"""One generator as a version of a registered model: exported without pickle, checked, uploaded, tagged."""

from __future__ import annotations

import ast
import io
import json
import logging
import shutil
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.errors import CycleGANError
from cyclegan.io.files import sha256
from cyclegan.io.uri import redact
from cyclegan.model import DIRECTIONS, Direction, Model
from cyclegan.pixel_kind import all_rgb
from cyclegan.registry.decision import Decision
from cyclegan.registry.metrics import NO_NAMES, headline, where
from cyclegan.registry.pages.version import version_page
from cyclegan.registry.pairs.turns import persistently
from cyclegan.tracking.base import artifact_link, flatten, overview

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)


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
    if version := version_of(client, registered, tags["fingerprint"]):
        for key, value in tags.items():
            if version.tags.get(key) != value:
                client.set_model_version_tag(registered, version.version, key, value)
        return str(version.version)
    model_id = _log_model(registered, direction, model, folder, run_id, tags, own)
    _ensure_registered_model(client, registered, direction, model)
    source = f"models:/{model_id}"
    version = persistently(
        lambda: client.create_model_version(registered, source, run_id, tags=tags, model_id=model_id)
    )
    return str(version.version)


def note_verdict(
    client: MlflowClient,
    name: str,
    versions: dict[str, str],
    model: Model,
    tags: dict[str, str],
    scores: dict[str, float],
    decision: Decision,
    run_id: str,
) -> None:
    """Write what was decided about a pair into both versions' tag `verdict` and onto their pages."""
    shown = _pictures(client, run_id)
    for direction in DIRECTIONS:
        registered, version = f"{name}-{direction}", versions[direction]
        client.set_model_version_tag(registered, version, "verdict", decision.reason)
        text = version_page(
            model,
            direction,
            f"models:/{registered}/{version}",
            {key: value for key, value in scores.items() if _concerns(key, direction)},
            decision,
            shown.get(direction, ""),
        )
        client.update_model_version(registered, version, text)


def _pictures(client: MlflowClient, run_id: str) -> dict[str, str]:
    """By direction the address, below the server's, of the picture that `evaluate` has left in the run."""
    import mlflow

    with suppress(mlflow.MlflowException, OSError):
        kept = {file.path for file in client.list_artifacts(run_id)} if run_id else set()
        files = {direction: overview(direction) for direction in DIRECTIONS}
        return {way: artifact_link(run_id, file) for way, file in files.items() if file in kept}
    return {}


def _concerns(metric: str, direction: Direction) -> bool:
    """Whether a score is about this direction: those of the other one carry its name."""
    return not any(other in metric for other in DIRECTIONS if other != direction)


def version_of(client: MlflowClient, registered: str, fingerprint: str) -> ModelVersion | None:
    """The newest version of these weights; None where there is none."""
    found = client.search_model_versions(f"name = '{registered}' and tags.fingerprint = '{fingerprint}'")
    return max(found, key=lambda version: int(version.version), default=None)


def _ensure_registered_model(
    client: MlflowClient, registered: str, direction: Direction, model: Model
) -> None:
    import mlflow

    data = model.config.get("data") or {}
    names = dict(NO_NAMES) | (data.get("names") or {})
    text = (
        f"CycleGAN generator {where(direction, names)}, first trained on "
        f"`{redact(data.get('uri', ''))}`. Input and output: encoded pictures (such as PNG or JPEG) of any "
        f"size. Use it: `cyclegan translate models:/{registered}@champion IMAGES --out OUT`."
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
        _check_kept(client, logged.model_id, path / "artifacts")
    mlflow.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    now = time.time_ns() // 1_000_000
    metrics = [
        Metric(key, value, now, 0, model_id=logged.model_id, run_id=run_id)
        for key, value in headline(scores).items()  # the run's page draws a chart for each
    ]
    client.log_batch(run_id, metrics=metrics)
    return str(logged.model_id)


def _check_kept(client: MlflowClient, model_id: str, folder: Path) -> None:
    """Raise CycleGANError where the store took the files and does not have them, as a sign-in page does."""
    listed = client.list_logged_model_artifacts(model_id, folder.name)
    kept = {Path(file.path).name: file.file_size for file in listed}
    for file in folder.iterdir():
        if file.name not in kept or kept[file.name] not in (None, file.stat().st_size):
            raise CycleGANError(
                f"The server's artifact store took {file.name} and does not have it: another server, or a "
                "sign-in page, may be at its address."
            )


def _save(path: Path, logged: Any, direction: Direction, model: Model, folder: Path, run_id: str) -> None:
    """Write the version's files: a pyfunc from code with the weights as safetensors and, if possible, ONNX.

    Raises CycleGANError where what was written does not draw what the generator draws.
    """
    import mlflow
    import pandas as pd
    from mlflow.models import Model as Description
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    artifacts = {"config": folder / "config.json", "weights": folder / f"{direction}.safetensors"}
    rgb = all_rgb(model.kinds)
    if onnx := rgb and find_spec("onnxscript") and find_spec("onnxruntime"):
        from cyclegan.engines.export import write_onnx

        artifacts["onnx"] = path.parent / f"{direction}.onnx"
        write_onnx(model[direction], direction, model.config, sha256(artifacts["weights"]), artifacts["onnx"])
    pictures = Schema([ColSpec("binary", "image")])
    params = ParamSchema(
        [
            ParamSpec("format", "string", "png"),
            ParamSpec("quality", "long", 95),
            ParamSpec("size", "long", 0),
            ParamSpec("tile", "long", 1024),
        ]
    )
    code = path.parent / "cyclegan"
    package = Path(str(find_spec("cyclegan").origin)).parent  # type: ignore[union-attr]
    for file in modules_for("cyclegan.serving.mlflow_model", package):
        copy = code / file.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(code / "serving" / "mlflow_model.py"),
        code_paths=[str(code)],
        artifacts={name: str(file) for name, file in artifacts.items()},
        model_config={"direction": direction, "engine": "auto", "precision": "auto", "device": "auto"},
        mlflow_model=Description(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=run_id,
            model_id=logged.model_id,
        ),
        signature=ModelSignature(inputs=pictures, outputs=pictures, params=params),
        input_example=pd.DataFrame({"image": [example_png()]}) if rgb else None,
        pip_requirements=pip_requirements(onnx=bool(onnx)),
        metadata={"direction": direction, "multiple": model.multiple},
    )


def modules_for(module: str, package: Path) -> set[Path]:
    """The files of the package `cyclegan` in a folder that a module needs, by every import in their code.

    A version is stored file by file, a request to the server each, and the package has three times as many.
    """
    found: set[Path] = set()
    todo = [module]
    while todo:
        parts = todo.pop().split(".")[1:]
        places = [package.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
        for file in (file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))):
            if file not in found and file.is_file():
                found.add(file)
                for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.Import):
                        todo += [name.name for name in node.names if name.name.startswith("cyclegan.")]
                    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cyclegan"):
                        todo += [f"{node.module}.{name.name}" for name in node.names]
    return found


def example_png() -> bytes:
    """A small picture, 48×32, as a PNG file: a ramp of red and green."""
    import numpy as np
    from PIL import Image

    ramp = np.zeros((32, 48, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 48)
    ramp[..., 1] = np.linspace(0, 255, 32)[:, None]
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, "PNG")
    return buffer.getvalue()


def pip_requirements(*, onnx: bool) -> list[str]:
    """What serving needs: ONNX Runtime if the model has an ONNX file, else torch."""
    names = ["numpy", "pillow", *(["onnxruntime"] if onnx else ["torch", "safetensors"])]
    # a local suffix such as +cpu is not on package indexes
    return [f"{name}=={version(name).split('+')[0]}" for name in names]


def describe(model: Model, data_version: str, verdict: str = "") -> str:
    """What the model is and, once that is decided, what became of it, in Markdown."""
    data = redact((model.config.get("data") or {}).get("uri", ""))
    epochs, seed, size = model.config.get("epochs", "?"), model.config.get("seed", "?"), "the prepared size"
    if model.config.get("image_size"):
        size = "{}x{} pixels".format(*model.test_size(0, 0))
    return (
        f"`{model.config['generator']['name']}` trained for {epochs} epochs on `{data}` (version "
        f"`{data_version}`) at the scale of images of {size}, seed {seed}."
        + (f"\n\nVerdict: {verdict}." if verdict else "")
    )
