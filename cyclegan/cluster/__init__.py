"""What a step does as a task of Kubeflow Pipelines, beside its work: settings, and what its page shows."""
