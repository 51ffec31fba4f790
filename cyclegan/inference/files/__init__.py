"""Translating files: which ones and to where, and how pictures of each kind go through a model."""
