"""From images to vectors: the extractors, their weights, and the cache of what they said."""
