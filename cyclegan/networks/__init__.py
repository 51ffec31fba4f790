"""One architecture a file; nothing here imports more than torch."""
