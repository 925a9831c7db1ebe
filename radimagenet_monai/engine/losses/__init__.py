"""Losses that MONAI does not have."""
