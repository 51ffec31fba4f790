"""The API server of Kubeflow Pipelines as its user: log in, submit, follow a run."""
