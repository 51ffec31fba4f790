"""What people read about a model: its card, and the page of its version in MLflow."""
