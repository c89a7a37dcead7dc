"""What a model answers rightly and wrongly: confusion, losses, sheets of the real pictures."""
