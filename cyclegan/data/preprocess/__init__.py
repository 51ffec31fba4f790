"""From a raw folder to packed arrays."""
