"""Figures, drawn with matplotlib from what is passed in."""

import os

# Figures are only written to files. Notebooks set this variable, for every command that they start, to a
# backend that other environments lack, and then `import matplotlib` fails.
os.environ["MPLBACKEND"] = "Agg"
