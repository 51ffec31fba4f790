"""Run a compiled pipeline on this machine, each task in a process or a container of its own."""

from __future__ import annotations

import json
import os
import re
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError
from pipeline.compiled.adapting import write_adapted

OUTPUTS = Path("outputs/kfp")
PASSED_ON = ("AWS_", "MLFLOW_", "CYCLEGAN_", "KFP_RUN_ID", "OMP_", "NO_PROXY", "HTTPS_PROXY")
"""How the names of variables begin that containers get from this process."""


def run(
    file: Path, arguments: dict[str, Any], root: Path = OUTPUTS, *, image: str = "", retries: bool = False
) -> Path:
    """Run the pipeline in `file`; returns the folder with the artifacts of this run.

    With `image` each task runs in a container of it, by the engine that DOCKER_HOST names, else in a process.
    KFP_RUN_ID names the execution in MLflow; where the environment has none, a new one is made. Without
    `retries` a failure is final: what they are for, nodes that vanish, does not happen here.
    Raises CycleGANError when a step failed; the step has then said why.
    """
    from kfp import components, local

    # The image is named after the project, not after Python; its steps are Python all the same.
    warnings.filterwarnings("ignore", message=".*custom or non-Python base image", category=RuntimeWarning)
    warnings.filterwarnings("ignore", message=".*have no effect in the current local runner")
    os.environ.setdefault("KFP_RUN_ID", str(uuid.uuid4()))
    folder = root.resolve() / os.environ["KFP_RUN_ID"]
    runner: Any = local.SubprocessRunner(use_venv=False)
    if image:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # the image's user is another than this one
        environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        runner = local.DockerRunner(network_mode="host", shm_size="1g", environment=environment)
    local.init(runner, pipeline_root=str(folder))
    with tempfile.TemporaryDirectory() as temporary:
        adapted = Path(temporary) / file.name
        write_adapted(file, adapted, image=image, retries=retries)
        pipeline = components.load_component_from_file(str(adapted))
    try:
        pipeline(**arguments)
    except (
        RuntimeError,
        ValueError,
    ) as error:  # ValueError where a killed container passes for a finished one
        raise CycleGANError(re.sub(r"\x1b\[\d*m", "", str(error)).rstrip(".") + "; see above.") from None
    return folder


def summary(folder: Path) -> list[str]:
    """What to know after a run: where things are and what was decided, a line each."""
    lines = [f"artifacts     {folder}"]
    for report in sorted(folder.glob("**/evaluate/report")):
        lines.append(f"report        {report}")
    for config in sorted(folder.glob("**/train/model/config.json")):
        run_id = json.loads(config.read_text(encoding="utf-8")).get("mlflow_run_id")
        lines.append(f"MLflow run    {run_id or 'none: tracking is off'}")
    decisions = sorted(folder.glob("**/register/registration"))
    for decision in decisions:
        lines.append(f"registration  {json.loads(decision.read_text(encoding='utf-8'))['reason']}")
    return lines
