"""Reports a reader can look at: figures, pages, wording of numbers."""
