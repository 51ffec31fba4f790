"""The losses, one update, and the loop around it."""
