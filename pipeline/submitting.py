"""Send a compiled pipeline to a cluster."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from cyclegan.errors import CycleGANError, UsageError
from pipeline.adapting import write_adapted
from pipeline.defaults import ROOT, storage, tracked_version


def from_storage(root: Path = ROOT) -> dict[str, str]:
    """Arguments that follow from the remote: the tracked data, and checkpoints that outlive a pod."""
    url = storage(root)
    if not url.startswith("s3://"):
        return {}
    version = tracked_version(root / "data.dvc")
    data = {"source": url, "version": version} if version else {}
    return data | {"checkpoints": f"{url}/checkpoints"}


def submit(
    file: Path,
    arguments: dict[str, Any],
    *,
    experiment: str,
    run_name: str | None = None,
    image: str = "",
    caching: bool = True,
    service_account: str = "",
) -> str:
    """Create a run on the cluster that KFP_ENDPOINT, or else the kubectl context, names; returns its id.

    Raises CycleGANError where the server can't be reached or refuses.
    """
    import kfp
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    endpoint = os.environ.get("KFP_ENDPOINT")
    try:
        client = kfp.Client(
            host=endpoint,
            namespace=os.environ.get("KFP_NAMESPACE", "kubeflow"),
            existing_token=os.environ.get("KFP_EXISTING_TOKEN"),
        )
        with tempfile.TemporaryDirectory() as folder:
            sent = Path(folder) / file.name
            write_adapted(file, sent, image=image, caching=caching)
            run = client.create_run_from_pipeline_package(
                str(sent),
                arguments=arguments,
                run_name=run_name or file.stem,
                experiment_name=experiment,
                service_account=service_account or None,
            )
    except ApiException as error:
        raise CycleGANError(f"Kubeflow Pipelines refused: {error.status} {error.reason}.") from None
    except (HTTPError, OSError, RuntimeError) as error:
        where = endpoint or "the cluster of the current kubectl context"
        raise CycleGANError(
            f"Cannot reach Kubeflow Pipelines at {where} ({type(error).__name__}): "
            "set KFP_ENDPOINT to its address."
        ) from None
    return str(run.run_id)


def check_version(arguments: dict[str, Any]) -> None:
    """Refuse a source that can change, without a version: KFP would answer from its cache all the same.

    A dataset's name stands for known content, and `sha256` among the fetch options pins an archive's.
    """
    source = arguments.get("source", "")
    pinned = arguments.get("version") or "sha256" in json.loads(arguments.get("fetch_options") or "{}")
    if "/" in source and not pinned:
        raise UsageError(
            f"source={source} needs version=<md5>.dir, since the cache knows data by version alone; "
            "or pass --no-cache."
        )
