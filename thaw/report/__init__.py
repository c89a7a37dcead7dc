"""The report of a recipe: one page with its result, curves, tables and pictures."""
