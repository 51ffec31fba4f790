"""What people look at after an evaluation: the report, pictures for DVC and MLflow, the verdict in words."""
