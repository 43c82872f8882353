"""Training a classifier: labels, split, arrays, epochs, figures."""
