"""Where a classifier looks, and how far that can be trusted."""
