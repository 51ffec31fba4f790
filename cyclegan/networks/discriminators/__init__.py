"""The discriminators, and what an image goes through before they see it."""
