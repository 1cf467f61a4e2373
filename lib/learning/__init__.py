"""Networks: from arrays to prediction tables."""
