"""What training on images has of its own: items, features of a frozen body, tasks, metrics."""
