"""Both generators as one thing in the registry, of which one pair is champion."""
