"""Reports: figures, pages, wording of numbers."""
