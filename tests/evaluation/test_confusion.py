import numpy as np
import pandas as pd
import pytest

from lib.evaluation import confusion
from lib.labels import CLASSES


def table(*rows, count=28):
    """Return rows of class numbers as yes and no."""
    found = np.zeros((len(rows), count), bool)
    for row, labels in enumerate(rows):
        found[row, list(labels)] = True
    return found


TRUTH = table([0], [0], [0], [0, 1], [2], [2], [1], [3])
GIVEN = table([1], [0, 1], [1], [0], [2], [2, 1], [1], [])


def test_shares_of_what_samples_are_wrongly_given_with_recall_on_the_diagonal():
    share_CC = confusion.matrix(TRUTH, GIVEN)
    # four samples have 0: two are given it; three of them lack 1, and all three are given it
    assert share_CC[0, 0] == 0.5 and share_CC[0, 1] == 1
    assert share_CC[2, 1] == 0.5 and share_CC[2, 2] == 1 and share_CC[2, 0] == 0
    assert share_CC[3, 3] == 0 and np.isnan(share_CC[4]).all()  # no sample has 4


def test_only_pairs_that_go_wrong_more_often_than_chance():
    found = confusion.that_matter(TRUTH, GIVEN, [0, 1, 2, 3])
    # 1 is given to 4 of the 6 samples that lack it; to 3 of 3 that have 0; pairs of one sample are chance
    wanted = pd.DataFrame(
        {
            "class": [CLASSES[0]],
            "given": [CLASSES[1]],
            "samples": [3],
            "share": [1.0],
            "lift": [1.5],
            "missed": [2],
        }
    )
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    everywhere = TRUTH.copy()
    everywhere[:, 1] = True  # given to all alike: that is no confusion of two classes
    assert confusion.that_matter(TRUTH, everywhere, [0, 1, 2, 3]).empty
    assert confusion.that_matter(TRUTH, GIVEN, [0, 2, 3]).empty, "only the classes that the run keeps"


def test_worst_first_by_what_exceeds_chance():
    truth = table(*[[0]] * 4, *[[1]] * 20, *[[2]] * 10)
    given = table(*[[2]] * 4, *[[2]] * 8, *[[1]] * 12, *[[2]] * 10)
    found = confusion.that_matter(truth, given, [0, 1, 2])
    assert found["class"].tolist() == [CLASSES[0]] and found["lift"].tolist() == pytest.approx([2.0])
