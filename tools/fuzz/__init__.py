"""Damaged input at random, from a seed: whatever is read is valid or refused in one sentence."""
