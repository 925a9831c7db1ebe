"""The bundle that the tests of releases take, where it is, and what its archive is called."""

from pathlib import Path

from radimagenet_monai.collection.versions import BUNDLE_VERSION

BUNDLES = Path(__file__).parents[2] / "bundles"
NAME = "breast_mass_us_classification"
ARCHIVE = f"{NAME}_v{BUNDLE_VERSION}.zip"
