"""Images whose channels and bits are kept as their files have them."""
