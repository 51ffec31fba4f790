"""Features, distances, paired metrics, and the report."""
