"""Comparison of initializations: plan, runs, analysis."""
