"""Encoders, input normalization, classifiers."""
