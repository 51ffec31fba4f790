"""Where images come from: folders, archives, the web, S3, DVC remotes."""
