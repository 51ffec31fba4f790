"""Where a task runs and with what: the one place that knows Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_channel import PipelineParameterChannel

from cyclegan.cluster.settings import PREFIX

SECRETS = {
    "cyclegan-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "cyclegan-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
}
"""Secrets of the namespace and their keys; a task gets each as a variable with PREFIX before it. Optional."""

CONFIG_MAP = "cyclegan"
SETTINGS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD",
    "CYCLEGAN_TRACKING",
    "CYCLEGAN_MLFLOW_URL",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "CYCLEGAN_S3_ADDRESSING_STYLE",
    "HTTPS_PROXY",
    "NO_PROXY",
)
"""Keys of the namespace's ConfigMap; a task gets each as a variable with PREFIX before it. Optional."""

LABEL = "cyclegan/step"
"""Label of our pods, by which deploy/steps/network-policy.yaml selects them."""

LIGHT_CPU, LIGHT_MEMORY = "250m", "1Gi"
"""What tasks ask for that do not train, evaluate or translate."""

HOUR = 3600
DAY = 24 * HOUR
NEVER = f"{7 * DAY}s"
"""The backend ends a task this long after its first attempt started, however well a retry is doing: no sooner
than the run itself ends."""


def run_limits() -> dsl.PipelineConfig:
    """How long a run may last and its pods are kept: a week; finished runs a day, failed ones three."""
    return dsl.PipelineConfig(
        active_deadline_seconds=7 * DAY, ttl_seconds_after_success=DAY, ttl_seconds_after_failure=3 * DAY
    )


def closed_by(handler: Callable[..., dsl.PipelineTask], name: str) -> dsl.ExitHandler:
    """The block of steps called `name`, at whose end `handler` runs, whatever happened in it."""
    task = settle(handler(), "Close MLflow runs", hours=1, retries=0)
    return dsl.ExitHandler(task.set_caching_options(False), name=name)


def settle(task: dsl.PipelineTask, title: str, *, hours: int, retries: int = 2) -> dsl.PipelineTask:
    """What every task needs: a title, a time limit, retries with back-off, settings, optional secrets.

    It asks for little memory, so that it isn't the first to be evicted; `place` asks for more.
    """
    task.set_display_name(title)
    task.set_cpu_request(LIGHT_CPU).set_memory_request(LIGHT_MEMORY)
    if retries:
        task.set_retry(retries, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration=NEVER)
    kubernetes.set_timeout(task, hours * HOUR)
    for secret, keys in SECRETS.items():
        kubernetes.use_secret_as_env(task, secret, {key: PREFIX + key for key in keys}, optional=True)
    settings = {key: PREFIX + key for key in SETTINGS}
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, settings, optional=True)
    # The run's id by the pod's label: as an input parameter it would be part of every cache key.
    kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", "metadata.labels['pipeline/runid']")
    kubernetes.add_pod_label(task, LABEL, "true")
    kubernetes.set_security_context(task, run_as_non_root=True)
    return task


def place(task: dsl.PipelineTask, node: Mapping[str, Any]) -> dsl.PipelineTask:
    """Give a heavy task its node: a channel for each parameter in parameters.NODE, without the group."""
    # The compiler hands parameters down into a block for announced channels alone; resource requests
    # announce nothing, and the backend would not find them.
    channels = [value for value in node.values() if isinstance(value, PipelineParameterChannel)]
    task.register_pipeline_channels(channels)
    task.set_cpu_request(node["cpu_cores"])
    task.set_memory_request(node["memory"]).set_memory_limit(node["memory"])
    task.set_accelerator_type(node["accelerator_type"]).set_accelerator_limit(node["accelerators"])
    kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
    kubernetes.add_toleration_json(task, node["tolerations"])
    kubernetes.add_node_selector_json(task, node["selector"])
    # Containers get 64 MiB of /dev/shm, too little for what the processes of one training exchange.
    kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit="2Gi")
    return task
