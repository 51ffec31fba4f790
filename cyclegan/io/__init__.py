"""Bytes in and out: files, object storage, downloads, weight files. Knows nothing of images or models."""
