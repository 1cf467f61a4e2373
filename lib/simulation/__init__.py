"""Simulated cells in Kaggle's own layout: fields of cells, proteins, a microscope's camera."""
