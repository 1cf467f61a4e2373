"""Networks: from cached arrays to predictions."""
