"""Comparison of initializations on a data set: plan, runs and analysis."""
