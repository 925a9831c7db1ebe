"""From the files that others give out to the weight store."""
