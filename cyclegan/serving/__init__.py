"""A model for other programs and people: what MLflow serves, a web server, a page."""
