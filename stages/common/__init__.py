"""What stages share: paths, keys, tables, rates, and how torch is set up."""
