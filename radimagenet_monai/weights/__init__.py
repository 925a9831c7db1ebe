"""What weights exist, what input they expect, and where they are."""
