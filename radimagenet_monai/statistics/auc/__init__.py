"""The area under the ROC curve, its variance and its tests."""
