"""Kaggle's files to a checked, cached and split data set; no torch."""
