"""Statistics of classification and segmentation studies. Imports no torch."""
