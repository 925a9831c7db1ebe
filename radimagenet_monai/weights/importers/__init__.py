"""Importing published weight files into the weight store."""
