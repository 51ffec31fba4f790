"""MLflow runs, and a tracker that keeps nothing where MLflow is absent or switched off."""
