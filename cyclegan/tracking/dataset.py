"""A prepared dataset as an input of an MLflow run."""

from __future__ import annotations

import json
from typing import Any

from cyclegan.io.uri import redact


def log_dataset(run_id: str, dataset: Any, context: str) -> None:
    """Make the dataset an input of the run, with its version as digest, unless it is one already."""
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, DatasetInput, InputTag

    client = MlflowClient()
    digest = str(dataset.version)[:36]  # the longest that MLflow keeps; a DVC folder version just fits
    inputs = client.get_run(run_id).inputs
    known = inputs.dataset_inputs if inputs else []
    if any(entry.dataset.digest == digest and entry.tags[0].value == context for entry in known):
        return
    kind, source = _source(redact(dataset.uri))
    profile = {f"{domain} images": facts["count"] for domain, facts in dataset.domains.items()}
    profile |= {"height": dataset.height, "width": dataset.width, "test pairs": dataset.paired}
    entity = Dataset(
        name=dataset.title,
        digest=digest,
        source_type=kind,
        source=json.dumps(source),
        profile=json.dumps(profile),
    )
    entry = DatasetInput(entity, [InputTag("mlflow.data.context", context)])
    client.log_inputs(run_id, [entry])
    client.set_tag(run_id, "data_version", str(dataset.version))
    client.set_tag(run_id, "data", dataset.title)


def _source(uri: str) -> tuple[str, dict[str, Any]]:
    """MLflow's kind of dataset source and its description."""
    scheme = uri.partition(":")[0]
    if scheme in {"http", "https"}:
        return "http", {"url": uri}
    if scheme == "s3":
        return "s3", {"uri": uri}
    if scheme == "synthetic":
        return "code", {"tags": {"mlflow.source.name": uri}}
    return "local", {"uri": uri}
