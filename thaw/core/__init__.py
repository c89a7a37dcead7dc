"""What everything stands on: errors, files, progress, random generators."""
