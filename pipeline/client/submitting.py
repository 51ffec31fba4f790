"""Send a compiled pipeline to a cluster: upload it, run it, or run it on a schedule."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclegan.data.config import PreprocessConfig
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.registry.config import dataset_name
from cyclegan.tracking.base import git_commit
from cyclegan.training.updates.schedule import in_epochs
from pipeline.arguments import load_spec
from pipeline.client.server import Server
from pipeline.compiled.adapting import write_adapted
from pipeline.compiled.backends import VERSIONS, parse_version
from pipeline.defaults import ROOT, storage, tracked_source, tracked_version
from pipeline.parameters import TABLES, refuse_secret, table


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How a pipeline is sent."""

    file: Path
    image: str = ""
    caching: bool = True
    backend: str = ""
    """One of backends.VERSIONS; empty asks the server."""
    experiment: str = "cyclegan"
    run_name: str = ""
    service_account: str = ""
    fresh: Collection[str] = field(default_factory=tuple)
    """Tasks that are never answered from the cache."""


def from_storage(root: Path = ROOT) -> dict[str, str]:
    """Arguments that follow from the remote: the tracked data, and checkpoints that outlive a pod."""
    url = storage(root)
    if not url.startswith("s3://"):
        return {}
    version = tracked_version(root / "data.dvc")
    data = {}
    if version:
        data = {"data_source": tracked_source(url, root / "data.dvc"), "data_version": version}
    return data | {"train_checkpoints": f"{url}/checkpoints"}


def upload(server: Server, sending: Sending) -> tuple[Any, list[str]]:
    """Upload what is sent, unless the server has it; returns the pipeline's version there and remarks.

    The pipeline's description holds the table of its parameters, which a form does not show; a version is
    named after the commit and the file's content.
    """
    spec = load_spec(sending.file)
    name = spec["pipelineInfo"]["name"]
    backend, remarks = _backend(server, sending)
    with tempfile.TemporaryDirectory() as folder:
        sent = Path(folder) / f"{name}.yaml"
        lost = write_adapted(
            sending.file,
            sent,
            image=sending.image,
            caching=sending.caching,
            fresh=sending.fresh,
            backend=backend,
        )
        remarks += [f"For a backend of {backend} left out: {what}." for what in lost]
        commit = git_commit() or ""
        digest = hashlib.sha256(sent.read_bytes()).hexdigest()[:8]
        clean = commit.removesuffix("-dirty")[:12]
        images = sorted({e["container"]["image"] for e in spec["deploymentSpec"]["executors"].values()})
        # the backend keeps 63 characters of a tag
        tags = {"commit": commit[:63], "image": (sending.image or images[0])[-63:]}
        description = spec["pipelineInfo"].get("description", "")
        if name in TABLES:
            description = f"{description}\n\n{table(TABLES[name])}"
        version = "-".join(part for part in (clean, digest) if part)
        return server.pipeline(name, description, sent, version, tags), remarks


def submit(server: Server, sending: Sending, arguments: dict[str, Any]) -> tuple[Any, list[str]]:
    """Create a run of the uploaded pipeline; returns it as the server does, and remarks for the user."""
    version, remarks = upload(server, sending)
    fields = _fields(server, sending, version, arguments)
    known = sending.backend or server.version[:1].isdigit()  # older servers refuse a field they don't know
    if known and _backend(server, sending)[0] == VERSIONS[-1]:
        # where the backend tracks by itself, its runs belong into the same experiment; else it ignores this
        fields["plugins_input"] = {"mlflow": {"experiment_name": sending.experiment}}
    return server.run(**fields), remarks + warnings_about(arguments)


def schedule(server: Server, sending: Sending, arguments: dict[str, Any], cron: str) -> tuple[str, list[str]]:
    """Create a recurring run of the uploaded pipeline, one at a time, none made up for; returns its id.

    It has no plugins_input: KFP 2.17.0 drops all parameters of a recurring run that has one beside a pipeline
    version, and every run would use the defaults.
    """
    from kfp_server_api import RecurringRunMode, V2beta1CronSchedule, V2beta1Trigger

    when = V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron=with_seconds(cron)))
    version, remarks = upload(server, sending)
    fields = _fields(server, sending, version, arguments)
    # each run is named after this, without anything but letters, digits and hyphens
    fields["display_name"] = re.sub(r"[^A-Za-z0-9]+", "-", sending.run_name).strip("-")
    recurring_id = server.schedule(
        **fields, trigger=when, mode=RecurringRunMode.ENABLE, max_concurrency=1, no_catchup=True
    )
    return recurring_id, remarks + warnings_about(arguments)


def with_seconds(cron: str) -> str:
    """A cron expression in the backend's six fields; one in the usual five runs at second 0.

    Raises UsageError for anything else.
    """
    cron, fields = cron.strip(), cron.split()
    if re.fullmatch(r"@(hourly|daily|midnight|weekly|monthly|yearly|annually|every (\d+[hms])+)", cron):
        return cron
    if len(fields) not in {5, 6} or not all(re.fullmatch(r"[\w*?/,#-]+", part) for part in fields):
        raise UsageError(f"--schedule '{cron}': expected five or six cron fields, such as '0 3 * * *'.")
    return cron if len(fields) == 6 else f"0 {cron}"


def warnings_about(arguments: dict[str, Any]) -> list[str]:
    """What will disappoint somebody later."""
    lost = {
        "train_checkpoints": "so a retry starts again: use train_checkpoints=s3://bucket/checkpoints",
        "translate_out": "so no translation is left: use translate_out=s3://bucket/translations",
    }
    return [
        f"What is written to {arguments[name]} is lost with its pod, {what}."
        for name, what in lost.items()
        if name in arguments and not arguments[name].startswith(("s3://", "/"))
    ]


def refuse_secrets(arguments: dict[str, Any]) -> None:
    """Raise UsageError for an address with a password or token anywhere in the arguments."""
    for name, value in arguments.items():
        for part, text in _texts(name, value):
            refuse_secret(part, text)


def starts_anywhere(arguments: dict[str, Any]) -> bool:
    """Whether what training continues from may be something else under the same address."""
    init = str((arguments.get("train_options") or {}).get("init", ""))
    fixed = r"models:/[^/@]+/\d+/?|runs:/.+|hf://.+@[0-9a-f]{40}|.+/\d{10}-[0-9a-f]{16}\.safetensors"
    return bool(init) and not re.fullmatch(fixed, init)


def run_name(arguments: dict[str, Any], default: str) -> str:
    """What people call a run: generator, dataset, size, epochs and seed, as MLflow's run is called."""
    if "train_generator" not in arguments:
        return default
    crop = arguments["train_crop_size_px"] or arguments["preprocess_load_size_px"]
    names = PreprocessConfig(names=arguments["preprocess_options"].get("names", "")).domain_names
    parts = [f"{arguments['train_generator']} {dataset_name(arguments['data_source'], names)} {crop}x{crop}"]
    tried = arguments.get("sweep_grid") or {}
    if not {"epochs", "decay_epochs"} & set(tried):
        parts.append(in_epochs(arguments["train_epochs"] + arguments["train_decay_epochs"]))
    parts.append("sweep of " + ", ".join(tried) if tried else f"seed {arguments['train_seed']}")
    return ", ".join(parts).encode("ascii", "replace").decode()


def run_url(server: Server, run: Any) -> list[str]:
    """Addresses of a run: KFP's page, and the MLflow run that the backend opened, where it did."""
    lines = []
    if server.login.endpoint:
        lines.append(f"{server.login.endpoint}/#/runs/details/{run.run_id}")
    with suppress(AttributeError, KeyError, TypeError):
        entry = run.plugins_output["mlflow"].entries["run_url"]
        lines.append(f"MLflow {getattr(entry, 'value', entry)}")
    return lines


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a value, with the name of the parameter or field that holds it."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for field_name, inside in value.items():
            yield from _texts(field_name, inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _texts(name, inside)


def _fields(server: Server, sending: Sending, version: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    from kfp_server_api import V2beta1PipelineVersionReference, V2beta1RuntimeConfig

    text = "Unpaired image-to-image translation: trainings, sweeps and translations."
    return {
        "experiment_id": server.experiment(sending.experiment, text),
        "display_name": sending.run_name,
        "pipeline_version_reference": V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
        ),
        "runtime_config": V2beta1RuntimeConfig(parameters=arguments),
        "service_account": sending.service_account or None,
    }


def _backend(server: Server, sending: Sending) -> tuple[str, list[str]]:
    """The backend's version: as given, else as the server says it, else the newest, with a remark."""
    if sending.backend:
        return sending.backend, []
    try:
        return parse_version(server.version), []
    except UsageError as error:
        if re.match(r"\d", server.version):
            raise CycleGANError(str(error)) from None
    return VERSIONS[-1], [
        f"The server does not tell its version; this is sent as for {VERSIONS[-1]} (--backend)."
    ]
