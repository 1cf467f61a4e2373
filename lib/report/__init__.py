"""What a run reports: tables, figures and one HTML page."""
