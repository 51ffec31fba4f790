"""MLflow's SQLite store, created by one process at a time so that several may start at once."""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path

from cyclegan.errors import CycleGANError
from cyclegan.tracking.server import first_line

logger = logging.getLogger(__name__)

PREFIX = "sqlite:///"
WAIT_SECONDS = 300.0  # creating one takes 20 seconds on a quiet machine


def prepare_database() -> None:
    """Create the tracking database and the experiment of the environment, if they are missing.

    MLflow creates tables, and migrates them, whenever a process first finds them incomplete: two processes
    that do so together break each other with "duplicate column name". Here the first takes a file lock beside
    the database and the others wait for it. Does nothing for servers and folders, or the second time.
    Raises CycleGANError where the database cannot be made or used.
    """
    import mlflow

    uri = mlflow.get_tracking_uri()
    if uri.startswith(PREFIX):
        _prepare(uri.removeprefix(PREFIX), os.environ.get("MLFLOW_EXPERIMENT_NAME", ""), os.getpid())


@cache
def _prepare(file: str, experiment: str, process: int) -> None:
    from filelock import FileLock, Timeout
    from mlflow import MlflowClient, MlflowException
    from mlflow.exceptions import RestException
    from sqlalchemy.exc import SQLAlchemyError

    path = Path(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=WAIT_SECONDS):
            if not path.exists():
                logger.info("Creating the MLflow database %s; this takes about 20 seconds, once.", path)
            client = MlflowClient()
            client.search_registered_models(max_results=1)
            if not experiment:
                client.get_experiment("0")
            elif client.get_experiment_by_name(experiment) is None:
                client.create_experiment(experiment)
    except Timeout:
        raise CycleGANError(
            f"Another process has held {path}.lock for {WAIT_SECONDS:.0f} seconds: end it, or use another "
            "database by MLFLOW_TRACKING_URI."
        ) from None
    except OSError as error:
        raise CycleGANError(f"Cannot write the MLflow database {path}: {error.strerror}.") from None
    except (MlflowException, RestException, SQLAlchemyError) as error:
        raise CycleGANError(f"Cannot use the MLflow database {path}: {first_line(error)}.") from None
