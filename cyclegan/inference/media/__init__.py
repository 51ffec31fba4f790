"""Pictures and videos: how they are read, what of them is kept, how they are written."""
