"""Ratings: tables, model, batches, metrics, interpretation."""
