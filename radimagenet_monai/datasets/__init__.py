"""Public datasets in their own on-disk formats, turned into records."""
