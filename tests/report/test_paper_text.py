"""A run's numbers beside a paper's, as text."""

import numpy as np

from lib.report.paper_text import lines, pair


def test_a_pair_is_ours_and_theirs_or_a_dash():
    assert pair(0.12345, 0.5) == "0.1235 / 0.5000"
    assert pair(0.12345, None, ".2f") == "0.12 / -" and pair(np.nan, 40, "g") == "- / 40"


def test_lines_are_a_title_and_aligned_columns():
    rows = [{"model": "a", "macro-F1": "0.1 / 0.2"}, {"model": "longer name", "macro-F1": "-"}]
    assert lines("Title", rows).splitlines() == [
        "Title",
        "  model        macro-F1",
        "  a            0.1 / 0.2",
        "  longer name  -",
    ]
