"""Cells and columns of the tables that users give."""
