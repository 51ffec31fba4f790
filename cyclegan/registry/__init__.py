"""Exports and the MLflow model registry."""
