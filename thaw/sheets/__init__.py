"""Contact sheets: small pictures with captions, side by side."""
