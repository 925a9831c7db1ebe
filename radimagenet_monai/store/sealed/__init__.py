"""Sealed stores, which are read without the source images."""
