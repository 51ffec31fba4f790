"""The tracking server: whether it answers, its addresses, its errors and its chatter."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cyclegan.errors import CycleGANError
from cyclegan.io.uri import printable, redact, scrub

CONNECT_SECONDS = 3.0


def check_server(seconds: float = CONNECT_SECONDS) -> None:
    """Ask an http(s) tracking server for a sign of life, since MLflow itself would retry for minutes.

    Raises CycleGANError when there is none. Servers of other kinds (a database, a folder) are not asked.
    """
    import mlflow
    import requests

    quiet()
    uri = mlflow.get_tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return
    verify: bool | str = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}:
        verify = False
    where = f"the MLflow server {redact(uri)}"
    advice = "start it, correct MLFLOW_TRACKING_URI, or set CYCLEGAN_TRACKING=off"
    try:
        answer = requests.get(uri.rstrip("/") + "/health", timeout=(seconds, 3 * seconds), verify=verify)
    except requests.exceptions.SSLError:
        raise CycleGANError(
            f"The certificate of {where} is not trusted: set MLFLOW_TRACKING_SERVER_CERT_PATH."
        ) from None
    except UnicodeError:
        raise CycleGANError(
            f"{redact(uri)} is not the address of a server: correct MLFLOW_TRACKING_URI."
        ) from None
    except requests.exceptions.RequestException:
        raise CycleGANError(f"Cannot reach {where}: {advice}.") from None
    if answer.status_code in {502, 503, 504}:
        raise CycleGANError(f"Cannot use {where}, it answers {answer.status_code}: {advice}.")
    if answer.status_code == 200 and answer.text.lstrip().startswith(("{", "<")):  # MLflow says OK
        raise CycleGANError(f"What answers at {redact(uri)} is not MLflow: {advice}.")


def quiet() -> None:
    """Silence MLflow's own chatter: a line for each run's end, a bar for each file, the start of monitors."""
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # A server with its artifacts in S3 sends clients to addresses of that store, which only it may reach.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    for chatty in ("mlflow.pyfunc", "mlflow.system_metrics", "mlflow.store.model_registry"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # pip may be absent, as in the image; a server closes idle connections, and the client opens new ones
    for chatty in ("mlflow.utils.environment", "urllib3.connectionpool"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


def first_line(error: BaseException) -> str:
    """The part of an MLflow error that a user can read, its addresses without their secrets."""
    import mlflow

    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(scrub(lines[0], mlflow.get_tracking_uri(), mlflow.get_registry_uri())).rstrip(".")


# whose errors reach us through MLflow when the store of artifacts fails
_STORES = frozenset({"azure", "boto3", "botocore", "google", "requests", "urllib3"})


@contextmanager
def mlflow_errors(what: str) -> Iterator[None]:
    """Within the block a failure of MLflow or of its artifact store is a CycleGANError.

    It begins with `what`, a sentence with {} for the registry's address.
    """
    import mlflow

    try:
        yield
    except CycleGANError:
        raise
    except RecursionError:  # botocore's
        start = what.replace("{}", redact(mlflow.get_registry_uri()))
        raise CycleGANError(
            f"{start}: its artifact store redirects in circles; check region and endpoint."
        ) from None
    except Exception as error:
        kinds = {type(error).__module__.partition(".")[0], _raised_in(error)}
        if not isinstance(error, mlflow.MlflowException | OSError) and not kinds & (_STORES | {"mlflow"}):
            raise
        if isinstance(error, KeyError) and error.__context__:  # MLflow's, about an answer that says less
            error = error.__context__  # type: ignore[assignment]
        where = redact(mlflow.get_registry_uri())
        raise CycleGANError(f"{what.replace('{}', where)}: {first_line(error)}.") from None


def _raised_in(error: BaseException) -> str:
    """The package whose code raised it."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] if trace else ""


def run_url(run: Any) -> str | None:
    """The address of a run's page, where the tracking server is one that has pages."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    if not uri.startswith(("http://", "https://")):
        return None
    page = f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
    public = os.environ.get("CYCLEGAN_MLFLOW_URL") or uri  # inside a cluster, browsers need another address
    return f"{redact(public).rstrip('/')}/#/{page}"
