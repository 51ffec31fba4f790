"""The MLflow model registry: decide, register, find and compare versions."""
