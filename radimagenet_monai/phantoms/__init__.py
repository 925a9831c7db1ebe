"""Small synthetic studies in the on-disk formats of the real datasets."""
