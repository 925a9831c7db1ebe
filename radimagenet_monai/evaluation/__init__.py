"""Statistics of predictions: discrimination with intervals, operating points."""
