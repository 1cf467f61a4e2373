import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from lib.evaluation import metrics


def random_case(seed, samples=200):
    generator = np.random.default_rng(seed)
    truth_NC = generator.uniform(size=(samples, 28)) < np.linspace(0.4, 0.0, 28)
    decision_NC = np.where(generator.uniform(size=truth_NC.shape) < 0.8, truth_NC, ~truth_NC)
    decision_NC[:, 5] = False
    return truth_NC, decision_NC


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_those_of_scikit_learn(seed):
    truth_NC, decision_NC = random_case(seed)
    assert metrics.macro_f1(truth_NC, decision_NC) == pytest.approx(
        f1_score(truth_NC, decision_NC, average="macro", zero_division=0), abs=1e-12
    )
    precision, recall, f1, support = precision_recall_fscore_support(truth_NC, decision_NC, zero_division=0)
    scores = metrics.class_scores(truth_NC, decision_NC)
    np.testing.assert_allclose(scores["precision"], precision)
    np.testing.assert_allclose(scores["recall"], recall)
    np.testing.assert_allclose(scores["f1"], f1)
    assert scores["support"].tolist() == support.tolist()


def test_prediction_advantage_by_hand():
    # 10 samples, 4 have the class, 5 are predicted to, 3 of them correctly: F1 = 6/9, PA = 1 - (1/3)/(6/10)
    truth_NC = np.zeros((10, 28), bool)
    decision_NC = np.zeros((10, 28), bool)
    truth_NC[:4, 0] = True
    decision_NC[1:6, 0] = True
    row = metrics.class_scores(truth_NC, decision_NC).iloc[0]
    assert (row["support"], row["predicted"], row["frequency"]) == (4, 5, 0.4)
    assert (row["precision"], row["recall"]) == (3 / 5, 3 / 4)
    assert row["f1"] == pytest.approx(2 / 3)
    assert row["prediction_advantage"] == pytest.approx(1 - (1 / 3) / 0.6)
    assert np.isnan(metrics.prediction_advantage(np.array([1.0]), np.array([1.0]))[0])


def test_the_macro_f1_of_guessing_is_that_of_random_decisions():
    generator = np.random.default_rng(0)
    frequency_C = np.linspace(0.5, 0.02, 28)
    truth_NC = generator.uniform(size=(20000, 28)) < frequency_C
    guessed_NC = generator.uniform(size=truth_NC.shape) < frequency_C
    assert metrics.guessing_macro_f1(truth_NC, frequency_C) == pytest.approx(
        metrics.macro_f1(truth_NC, guessed_NC), abs=0.01
    )


def test_expected_f1_by_hand():
    calibrated_NC = np.array([[0.9, 0.2, 0.0], [0.5, 0.0, 0.0]])
    decision_NC = np.array([[True, False, False], [True, False, False]])
    assert metrics.expected_f1(calibrated_NC, decision_NC) == pytest.approx([2 * 1.4 / (2 + 1.4), 0, 0])


def test_scores_of_no_samples_are_zero():
    nothing_NC = np.zeros((0, 2), bool)
    table = metrics.scores(nothing_NC, nothing_NC)
    assert not table.drop(columns="prediction_advantage").to_numpy().any()
    assert table["prediction_advantage"].tolist() == [0, 0]
