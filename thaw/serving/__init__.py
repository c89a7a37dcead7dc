"""What a server of a finished model answers to a table of images, or of users and items."""
