"""Use a model: load, translate, export, import."""
