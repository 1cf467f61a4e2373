"""Figures, drawn with matplotlib from what is passed in."""
