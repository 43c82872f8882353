"""Training a classifier: labels, splits, arrays, epochs, figures."""
