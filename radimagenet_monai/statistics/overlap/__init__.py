"""Overlap and distance of masks."""
