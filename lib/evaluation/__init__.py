"""Predictions to thresholds, scores, ensembles and a submission; no torch, no images."""
