"""Versions in the bundles' metadata."""

from __future__ import annotations

BUNDLE_VERSION = "0.1.0"

BUNDLE_CHANGELOG = {"0.1.0": "first version"}

TESTED_VERSIONS = {
    "monai": "1.6.1",
    "torch": "2.13.0",
    "numpy": "2.4.6",
    "pytorch-ignite": "0.5.5",
    "pydicom": "3.0.2",
    "pandas": "3.1.1",
    "scikit-learn": "1.9.1",
    "opencv-python-headless": "5.0.0.93",
    "tensorboard": "2.21.0",
}
"""The versions the bundles were run with. A test holds them equal to ``constraints.txt``."""
