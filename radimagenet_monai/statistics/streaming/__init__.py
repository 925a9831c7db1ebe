"""Statistics from counts, in bounded memory."""
