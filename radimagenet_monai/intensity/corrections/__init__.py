"""Corrections of acquired values."""
