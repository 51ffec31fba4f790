"""What is wrong with a single image file."""

from __future__ import annotations


class BadImage(Exception):
    """A file that cannot be used as an image; the message is the reason, without the file's name."""
