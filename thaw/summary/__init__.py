"""One item and one batch through every step of the data and of the model."""
