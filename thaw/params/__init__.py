"""Parameter classes: one module per section of a recipe, light to import."""
