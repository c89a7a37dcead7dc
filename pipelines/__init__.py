"""Running and reading the pipeline as a whole. Never imports torch."""
