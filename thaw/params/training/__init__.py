"""Parameter classes of the sections that training reads."""
