"""Too few training samples and implausible decisions are stated with what was observed; real ones are not."""

import numpy as np
import pytest

from lib.evaluation.plausibility import check_decisions, check_training
from lib.labels import CLASSES, target_matrix
from tests.conftest import REAL, needs_real

EVERY = list(range(28))


def labels(*rows):
    return target_matrix([tuple(row) for row in rows])


USUAL = labels(*([0, row % 28] if row % 2 else [row % 28] for row in range(280)))  # 1.5 labels per row


def test_few_training_samples_are_stated_with_the_classes():
    (few, rare) = check_training(labels(*[[0], [1], [1], [1], [0], [2, 3]]), EVERY)
    assert "only 6 training samples" in few and "at least 100" in few
    assert "27 of 28 classes" in rare and f"{CLASSES[0]}, {CLASSES[2]}, {CLASSES[3]} and 24 more" in rare
    (rare,) = check_training(np.vstack([USUAL, labels([5])])[:, :] & (np.arange(28) != 7), EVERY)
    assert rare.startswith("1 of 28 classes") and rare.endswith(f": {CLASSES[7]}")
    assert check_training(USUAL & (np.arange(28) != 7), [label for label in EVERY if label != 7]) == []


@pytest.mark.parametrize(
    ("decision_NC", "words"),
    [
        (labels(*[EVERY] * 24), ["all 24 rows have the same 28 labels", CLASSES[0], "25 more"]),
        (labels(*[[3]] * 24), ["all 24 rows have the same 1 labels", CLASSES[3]]),
        (labels(*[EVERY] * 12, *[[3]] * 12), ["14.50 labels per row", "1.50"]),
        (
            labels(*([3, 4, row % 28] for row in range(24))),
            [f"{CLASSES[3]}, {CLASSES[4]} in at least 90%"],
        ),
        (np.vstack([labels(*[[1, 2]] * 20), np.zeros((4, 28), bool)]), ["4 of 24 rows have no label"]),
    ],
)
def test_implausible_decisions_are_stated(decision_NC, words):
    text = "; ".join(check_decisions(decision_NC, USUAL))
    assert all(word in text for word in words), text


def test_one_label_per_row_is_implausible_unless_asked_for():
    training_NC = labels(*[[0, 1], [2, 3], [4]] * 20)
    decision_NC = labels(*([row % 5] for row in range(20)))
    assert "1.00 labels per row, the training set has 1.67" in check_decisions(decision_NC, training_NC)[0]
    assert check_decisions(decision_NC, training_NC, max_labels=1) == []


def test_nothing_is_stated_about_few_rows_or_usual_decisions():
    assert check_decisions(labels(*[EVERY] * 4), USUAL) == []
    assert check_decisions(USUAL[::-1], USUAL) == []


@needs_real
def test_real_labels_and_decisions_at_usual_thresholds_are_plausible():
    rows = (REAL / "kaggle_labels" / "train.csv").read_text().splitlines()[1:]
    truth_NC = labels(*(map(int, row.split(",")[1].split()) for row in rows))
    assert check_training(truth_NC[: len(rows) * 6 // 10], EVERY) == []
    scores_NC = np.load(REAL / "test_scores" / "inceptionv3_800.npy").astype(np.float32)
    for threshold in (0.2, 0.5):
        decision_NC = scores_NC >= np.minimum(threshold, scores_NC.max(axis=1, keepdims=True))
        assert check_decisions(decision_NC, truth_NC) == []
