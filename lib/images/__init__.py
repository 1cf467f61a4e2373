"""Pixels: from Kaggle's folder to checked, cached, split and augmented arrays; knows no torch."""
