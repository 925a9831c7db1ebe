"""Bootstrap, permutation, and the folds of a cross-validation."""
