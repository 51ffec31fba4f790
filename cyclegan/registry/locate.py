"""From an address in MLflow (`models:/…`, `runs:/…`) to the files of a generator."""

from __future__ import annotations

import re
from pathlib import Path

from cyclegan.errors import UsageError
from cyclegan.model import DIRECTIONS, Direction
from cyclegan.tracking.runs import enabled
from cyclegan.tracking.server import check_server, mlflow_errors, quiet

ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))?/?")


def download(uri: str, direction: Direction | None, folder: Path) -> Direction:
    """Download the generator's safetensors and config.json into `folder` and return its direction.

    `models:/cyclegan-AtoB@champion`, `models:/cyclegan-AtoB/3`, or without direction and alias:
    `models:/cyclegan` is the champion, from A to B unless `direction` says otherwise. `runs:/<run id>` is the
    pair that the run registered. Raises UsageError for an address that names nothing, CycleGANError when the
    server can't be reached.
    """
    if not enabled():
        raise UsageError(f"{uri} needs MLflow: install it, and do not set CYCLEGAN_TRACKING=off.")
    check_server()
    quiet()
    import mlflow

    with mlflow_errors(f"Cannot get {uri} from {{}}"):
        if uri.startswith("runs:/"):
            source = _of_run(uri, direction or "AtoB")
        else:
            source = _of_registry(uri, direction)
        wanted = _direction_of(source[0]) or direction or "AtoB"
        if direction and wanted != direction:
            raise UsageError(f"{uri} is a generator {wanted}, not {direction}.")
        listed = {Path(entry.path).name for entry in mlflow.artifacts.list_artifacts(source[1])}
        place = "artifacts" if "artifacts" in listed else "extra_files"  # older versions
        for file in ("config.json", f"{wanted}.safetensors"):
            mlflow.artifacts.download_artifacts(f"{source[1]}/{place}/{file}", dst_path=str(folder))
    for path in (folder / place).glob("*"):
        path.rename(folder / path.name)
    return wanted


def _direction_of(name: str) -> Direction | None:
    return next((direction for direction in DIRECTIONS if name.endswith(f"-{direction}")), None)


def _of_registry(uri: str, direction: Direction | None) -> tuple[str, str]:
    """Name and artifact address of a registered version.

    An alias is that of the pair, so that both directions always come from one model, whatever another
    program did to the aliases of a direction.
    """
    from mlflow import MlflowClient

    from cyclegan.registry.pairs.aliases import pair_of

    match = ADDRESS.fullmatch(uri)
    if match is None:
        raise UsageError(
            f"{uri} is not a model address: write models:/NAME@champion or models:/NAME/VERSION."
        )
    name, version = match["name"], match["version"] or ""
    alias = "" if version else match["alias"] or "champion"
    named = _direction_of(name)
    wanted = named or direction or "AtoB"
    pair = name.removesuffix(f"-{named}") if named else name
    if not (named and version):
        version = pair_of(MlflowClient(), pair, alias=alias, version=version).get(wanted, version)
    name = f"{pair}-{wanted}"
    return name, f"models:/{name}/{version}" if version else f"models:/{name}@{alias}"


def _of_run(uri: str, direction: Direction) -> tuple[str, str]:
    """Name and artifact address of the generator that a run logged last."""
    import mlflow

    run = mlflow.get_run(uri.removeprefix("runs:/").strip("/"))
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [mlflow.get_logged_model(output.model_id) for output in outputs]
    mine = [model for model in models if model.name.endswith(f"-{direction}")]
    if not mine:
        raise UsageError(f"{uri} has registered no generator {direction}.")
    newest = max(mine, key=lambda model: model.creation_timestamp)
    return newest.name, newest.artifact_location.rstrip("/")
