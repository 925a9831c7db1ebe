"""Whole experiments: bundle runs put together."""
