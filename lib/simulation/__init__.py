"""Simulated cells in Kaggle's layout: fields of view, stained proteins, and the microscope's camera."""
