"""Component: the exit handler, which runs whatever happened in the execution."""

from kfp import dsl

from components import component


@component()
def finish(status: dsl.PipelineTaskFinalStatus) -> None:
    """Mark MLflow runs as failed that a killed step left open.

    MLflow decides which those are: the status that the backend sends is RUNNING after a success with older
    versions and after a termination with all, and its error is always empty.

    Args:
        status: How the steps ended, in the backend's words.
    """
    import os

    from cyclegan.cluster.settings import begin
    from cyclegan.tracking.runs import close_runs

    begin()
    closed = close_runs(os.environ.get("KFP_RUN_ID", ""))
    print(
        f"The backend says {status.state}. MLflow runs that a killed step left open: {len(closed)}.", *closed
    )
