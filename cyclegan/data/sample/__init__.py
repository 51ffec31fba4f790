"""The drawn sample dataset `city`."""
