"""Run a compiled pipeline on this machine, each task in a process of its own."""

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
from pipeline.adapting import write_adapted

OUTPUTS = Path("outputs/kfp")


def run(file: Path, arguments: dict[str, Any], root: Path = OUTPUTS) -> Path:
    """Run the pipeline in `file`; returns the folder with the artifacts of this run.

    KFP_RUN_ID names the execution in MLflow; where the environment has none, a new one is made. A failure is
    final: what retries are for, nodes that vanish, does not happen here.
    Raises CycleGANError when a step failed; the step has then said why.
    """
    from kfp import components, local

    # The image is named after the project, not after Python; its steps are Python all the same.
    warnings.filterwarnings("ignore", message=".*custom or non-Python base image", category=RuntimeWarning)
    warnings.filterwarnings("ignore", message=".*have no effect in the current local runner")
    os.environ.setdefault("KFP_RUN_ID", str(uuid.uuid4()))
    folder = root / os.environ["KFP_RUN_ID"]
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder))
    with tempfile.TemporaryDirectory() as temporary:
        adapted = Path(temporary) / file.name
        write_adapted(file, adapted, retries=False)
        pipeline = components.load_component_from_file(str(adapted))
    try:
        pipeline(**arguments)
    except RuntimeError as error:
        raise CycleGANError(re.sub(r"\x1b\[\d*m", "", str(error)).rstrip(".") + "; see above.") from None
    return folder


def summary(folder: Path) -> list[str]:
    """What a person wants to know after a run: where things are and what was decided, a line each."""
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
