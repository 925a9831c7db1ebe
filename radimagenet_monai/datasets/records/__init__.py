"""The records table, its splits and what is derived from it."""
