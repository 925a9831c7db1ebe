"""Whole studies on phantoms."""
