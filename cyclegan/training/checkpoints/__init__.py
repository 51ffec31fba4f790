"""What a run leaves on disk or in S3 so that the same command resumes it."""
