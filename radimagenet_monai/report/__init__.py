"""Reports a reader can look at."""
