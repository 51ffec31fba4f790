"""Compiled files: how they are written, read, and fitted to a version of the backend."""
