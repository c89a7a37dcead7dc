"""What a recipe's images are, before a model is trained on them."""
