"""Where a task runs and with what: the one place that knows Kubernetes, and what older backends can't do.

Kubeflow Pipelines takes resources, node selectors and tolerations as pipeline parameters since 2.5 and gives
an exit handler the final status since 2.14; run limits and clean-up times came later. Compiled with
`--static` a pipeline asks for none of these: it has no exit handler, and `Machine` is no parameter, since
the constants below are compiled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_channel import PipelineParameterChannel

SECRETS = {
    "cyclegan-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "cyclegan-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
}
"""Secrets of the namespace and their keys, which become variables of the same name. All are optional."""

CONFIG_MAP = "cyclegan"
SETTINGS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "CYCLEGAN_TRACKING",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "HTTPS_PROXY",
    "NO_PROXY",
)
"""Keys of the namespace's ConfigMap, which become variables of the same name. All are optional."""

HOUR = 3600
DAY = 24 * HOUR


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What train and evaluate ask of a node; each field is a pipeline parameter of the same name."""

    cpu: str = "1"
    """CPU cores requested."""
    memory: str = "4Gi"
    """Memory requested, which is the limit as well."""
    accelerator_type: str = "nvidia.com/gpu"
    """Resource name of the accelerator."""
    accelerators: int = 0
    """Accelerators; 0 computes on the CPU."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels that the node must have, such as {"cloud.google.com/gke-spot": "true"}."""
    tolerations: list[dict[str, str]] = field(default_factory=list)
    """Taints that the pod puts up with besides nvidia.com/gpu, such as those of spot nodes."""


@dataclass(frozen=True)
class Backend:
    """Puts Kubernetes settings on tasks as far as the backend understands them; `static`: one before 2.14."""

    static: bool = False

    def pipeline_config(self) -> dsl.PipelineConfig | None:
        """How long a run may last and its pods are kept: a week; finished runs a day, failed ones three."""
        if self.static:
            return None
        return dsl.PipelineConfig(
            active_deadline_seconds=7 * DAY, ttl_seconds_after_success=DAY, ttl_seconds_after_failure=3 * DAY
        )

    def watched_by(self, handler: Callable[..., dsl.PipelineTask]) -> AbstractContextManager[Any]:
        """The block of steps at whose end `handler` runs, whatever happened in it."""
        if self.static:
            return nullcontext()
        watcher = self.settle(handler(), "Mark a failed run in MLflow", hours=1, retries=0)
        return dsl.ExitHandler(watcher.set_caching_options(False), name="steps")

    def settle(self, task: dsl.PipelineTask, title: str, *, hours: int, retries: int = 2) -> dsl.PipelineTask:
        """What every task needs: a title, a time limit, retries with back-off, settings, optional secrets."""
        if not self.static:  # before 2.14 a task with a display name did not find its inputs
            task.set_display_name(title)
        if retries:
            task.set_retry(retries, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration="900s")
        kubernetes.set_timeout(task, hours * HOUR)
        for secret, keys in SECRETS.items():
            kubernetes.use_secret_as_env(task, secret, {key: key for key in keys}, optional=True)
        kubernetes.use_config_map_as_env(task, CONFIG_MAP, {key: key for key in SETTINGS}, optional=True)
        # The run's id by the pod's label: as an input parameter it would be part of every cache key.
        kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", "metadata.labels['pipeline/runid']")
        return task

    def place(self, task: dsl.PipelineTask, machine: Mapping[str, Any]) -> dsl.PipelineTask:
        """Give a heavy task its machine: a value or a pipeline parameter for each field of `Machine`."""
        chosen = {name: getattr(Machine(), name) for name in machine} if self.static else machine
        # The compiler hands parameters down into a block for announced channels alone; resource requests
        # announce nothing, and the backend would not find them.
        channels = [value for value in chosen.values() if isinstance(value, PipelineParameterChannel)]
        task.register_pipeline_channels(channels)
        task.set_cpu_request(chosen["cpu"])
        task.set_memory_request(chosen["memory"]).set_memory_limit(chosen["memory"])
        if not self.static or chosen["accelerators"]:
            task.set_accelerator_type(chosen["accelerator_type"]).set_accelerator_limit(
                chosen["accelerators"]
            )
        kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
        kubernetes.add_toleration_json(task, chosen["tolerations"])
        if not self.static:
            kubernetes.add_node_selector_json(task, chosen["node_selector"])
        for label, value in chosen["node_selector"].items() if self.static else ():
            kubernetes.add_node_selector(task, label, value)
        # Containers get 64 MiB of /dev/shm, too little for what the processes of one training exchange.
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit="2Gi")
        return task
