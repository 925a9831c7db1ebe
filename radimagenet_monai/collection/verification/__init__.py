"""Verification of bundles without running them."""
