"""Numbers about predictions: from prediction tables to scores, figures and a submission; knows no torch."""
