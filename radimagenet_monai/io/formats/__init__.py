"""Formats other than DICOM."""
