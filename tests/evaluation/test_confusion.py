import numpy as np
import pandas as pd
import pytest

from lib.evaluation import confusion
from lib.labels import CLASSES, target_matrix

TRUTH = target_matrix([(0,), (0,), (0,), (0, 1), (2,), (2,), (1,), (3,)])
DECISIONS = target_matrix([(1,), (0, 1), (1,), (0,), (2,), (2, 1), (1,), ()])


def test_rows_are_true_and_columns_wrongly_predicted_classes_with_recall_on_the_diagonal():
    share_CC = confusion.matrix(TRUTH, DECISIONS)
    # four samples have 0, predicted for two of them; three of the four lack 1, predicted for all three
    assert share_CC[0, 0] == 0.5 and share_CC[0, 1] == 1
    # two samples have 1, predicted for one of them; one of the two lacks 0, not predicted for it
    assert share_CC[1, 1] == 0.5 and share_CC[1, 0] == 0
    assert share_CC[2, 1] == 0.5 and share_CC[2, 2] == 1 and share_CC[2, 0] == 0
    assert share_CC[3, 3] == 0 and np.isnan(share_CC[4]).all()  # no sample has 4


def test_only_pairs_that_are_confused_more_often_than_by_chance():
    found = confusion.frequent_confusions(TRUTH, DECISIONS, [0, 1, 2, 3])
    # 1 is predicted for 4 of the 6 samples that lack it, and for 3 of 3 with 0; other pairs have one sample
    wanted = pd.DataFrame(
        {
            "class": [CLASSES[0]],
            "predicted_as": [CLASSES[1]],
            "samples": [3],
            "share": [1.0],
            "lift": [1.5],
            "missed": [2],
        }
    )
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    everywhere_NC = TRUTH.copy()
    everywhere_NC[:, 1] = True  # predicted for all samples alike: no confusion of two classes
    assert confusion.frequent_confusions(TRUTH, everywhere_NC, [0, 1, 2, 3]).empty
    assert confusion.frequent_confusions(TRUTH, DECISIONS, [0, 2, 3]).empty, "only among the given classes"


def test_pairs_are_sorted_by_how_far_they_exceed_chance():
    truth_NC = target_matrix([(0,)] * 4 + [(1,)] * 20 + [(2,)] * 10 + [(3,)] * 40)
    decision_NC = target_matrix(
        [(2,)] * 4 + [(2,)] * 8 + [(1,)] * 12 + [(2,)] * 10 + [(0,)] * 10 + [(3,)] * 30
    )
    found = confusion.frequent_confusions(truth_NC, decision_NC, [0, 1, 2, 3])
    # 2 is predicted for 12 of the 64 samples that lack it; 0 for 10 of 70
    assert list(zip(found["class"], found["predicted_as"], strict=True)) == [
        (CLASSES[0], CLASSES[2]), (CLASSES[1], CLASSES[2]), (CLASSES[3], CLASSES[0]),
    ]  # fmt: skip
    assert found["lift"].tolist() == pytest.approx([64 / 12, 0.4 * 64 / 12, 0.25 * 7])
    assert found["missed"].tolist() == [4, 8, 10]


def test_a_large_difference_comes_before_a_large_ratio():
    truth_NC = target_matrix([(0,)] * 10 + [(2,)] * 15 + [(3,)] * 80)
    decision_NC = target_matrix([(1,)] * 9 + [(0,)] + [(4,)] * 3 + [(2,)] * 12 + [(1,)] * 36 + [(3,)] * 44)
    found = confusion.frequent_confusions(truth_NC, decision_NC, [0, 1, 2, 3, 4])
    # 0.9 against 45 of 105, 0.2 against 3 of 105
    assert found["predicted_as"].tolist() == [CLASSES[1], CLASSES[4]]
    assert found["lift"].tolist() == pytest.approx([0.9 * 105 / 45, 0.2 * 105 / 3])
