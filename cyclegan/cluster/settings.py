"""Settings and secrets of a namespace, as a task in a pod receives them.

Kubeflow Pipelines may set MLFLOW_* in a pod by itself, and its launcher, which moves artifacts from inside
the same container, reads AWS_* and HTTPS_PROXY. A pod that sets one variable twice is refused, and a launcher
with our keys talks to the wrong store. So a task gets each setting under a prefixed name, which nothing else
reads, and `adopt` gives it its real name in this process alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from types import TracebackType

from cyclegan.errors import CycleGANError, UsageError

PREFIX = "CYCLEGAN_ENV_"
"""What stands before a setting's name in a pod's environment."""

TOGETHER = (
    (
        ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"),
        ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    ),
    (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), ()),
)
"""Variables that belong to one another: where the pod has one of the first of a group, all of ours stay out.

The others decide nothing: Kubeflow Pipelines with tracking of its own puts its launcher's MLflow credentials
into every pod, with an address only where it hands that to the step too. Credentials follow the address.
"""


def adopt(environment: MutableMapping[str, str] = os.environ) -> None:
    """Give every prefixed setting its real name, unless the pod has it, or one that decides for it."""
    present = {name for name, value in environment.items() if value}
    for name in sorted(present):
        if not name.startswith(PREFIX):
            continue
        real = name.removeprefix(PREFIX)
        deciding = next((first for first, others in TOGETHER if real in first + others), (real,))
        if present.isdisjoint(deciding):
            environment[real] = environment[name]


def begin(*, accelerators: str = "", task: str = "", tracked: bool = False) -> None:
    """What a task does before its work: adopt the settings and make sure that it has what it needs.

    `accelerators` is how many the pod asked for ('' or '0': none), `task` an identity that a retry of the
    same task shares, and `tracked` says that the step needs MLflow.
    Raises CycleGANError where a tracked step in a pod has no server, or accelerators were asked for and the
    process sees none, UsageError where their number is not one, or a setting is still the example's.
    """
    sys.excepthook = _in_one_sentence
    require_filled_in()
    adopt()
    # Any user id may run a pod; without a name for it, libraries that ask for one print a warning.
    os.environ.setdefault("LOGNAME", "cyclegan")
    if task:
        os.environ["CYCLEGAN_KFP_TASK"] = task
    if tracked:
        require_server()
    if accelerators.strip() not in {"", "0"}:
        require_accelerators(accelerators)


def _in_one_sentence(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """How the log of a failed step ends: in a sentence for an error of ours, else in the traceback."""
    if isinstance(error, CycleGANError):
        print(error, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def require_filled_in(environment: MutableMapping[str, str] = os.environ) -> None:
    """Raise UsageError where a setting or secret of the namespace is still the one of the example."""
    left = [
        name.removeprefix(PREFIX)
        for name, value in sorted(environment.items())
        if name.startswith(PREFIX) and "CHANGE-ME" in value
    ]
    if left:
        raise UsageError(
            f"{', '.join(left)} of this namespace's ConfigMap and secrets: still CHANGE-ME; fill it in."
        )


def require_server(environment: MutableMapping[str, str] = os.environ) -> None:
    """Raise CycleGANError in a pod that would track into a file of its own, which is gone with the pod."""
    in_pod = "KUBERNETES_SERVICE_HOST" in environment
    off = environment.get("CYCLEGAN_TRACKING", "").lower() == "off"
    if in_pod and not off and not environment.get("MLFLOW_TRACKING_URI"):
        raise CycleGANError(
            "This pod has no MLflow server, so its runs and models would be lost with it: set "
            "MLFLOW_TRACKING_URI in the namespace's ConfigMap `cyclegan`, or CYCLEGAN_TRACKING=off there. If "
            "it is set, the backend ignored the settings: compile for its version, such as --backend 2.16."
        )


def require_accelerators(asked: str) -> None:
    """Raise CycleGANError where this process sees fewer accelerators than `asked` for."""
    import torch

    try:
        wanted = int(asked)
    except ValueError:
        raise UsageError(f"node_accelerators must be a whole number, not '{asked}'.") from None
    found = torch.cuda.device_count()
    if found < wanted:
        raise CycleGANError(
            f"{wanted} accelerators were asked for and torch sees {found}: check the device plugin of the "
            "node, the driver, and that the image has CUDA; node_accelerators=0 uses the CPU."
        )
