"""The objective, one update, and the loop around it."""
