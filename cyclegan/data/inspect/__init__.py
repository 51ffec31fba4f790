"""A look at a dataset before training."""
