"""From the predictions of runs to the results of a comparison."""
