"""Checks of modality and values."""
