"""Component: the last word about an execution, whatever happened in it."""

from kfp import dsl

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def finish(status: dsl.PipelineTaskFinalStatus):
    """Mark the execution's MLflow run as failed when a step failed, even one that was killed without a word.

    Args:
        status: How the steps ended, given by Kubeflow Pipelines.
    """
    import os

    from cyclegan.tracking.runs import fail_runs

    print(f"The steps ended {status.state}. {status.error_message or ''}")
    if status.state != "SUCCEEDED":
        fail_runs("kfp_run_id", os.environ.get("KFP_RUN_ID", ""), status.error_message or "")
