"""Networks for groups of locations and for the locations within each group, and their combination."""
