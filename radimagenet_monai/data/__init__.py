"""Packed store, sampling and augmentation of canonical images."""
