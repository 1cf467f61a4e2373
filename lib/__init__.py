"""Everything the numbered scripts know; each imports it, none imports another."""
