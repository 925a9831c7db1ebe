"""Readers of datasets in their original form, one module each."""
