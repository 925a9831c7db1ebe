"""Checks and settings before a run."""
