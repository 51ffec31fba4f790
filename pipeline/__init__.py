"""Kubeflow pipelines: the graphs, and `python -m pipeline` to compile, run and submit them."""
