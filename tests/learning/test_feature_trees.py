import numpy as np
import pytest

from lib.evaluation.metrics import macro_f1
from lib.learning import feature_trees

ROWS = 600
TRAIN = np.arange(400)


@pytest.fixture(scope="module")
def data():
    """Features, one always undefined; three classes that the others determine, and one without samples."""
    random = np.random.default_rng(3)
    features_NF = random.normal(size=(ROWS, 4))
    truth_NC = np.column_stack([features_NF[:, :3] > 0.3, np.zeros(ROWS, bool)])
    features_NF[:, 3] = np.nan
    features_NF[0, 0] = np.inf
    features_NF[1, 1] = np.nan
    return features_NF, truth_NC


@pytest.fixture(scope="module")
def predicted(data):
    features_NF, truth_NC = data
    return feature_trees.fit_and_predict(features_NF, truth_NC[: len(TRAIN)], TRAIN, seed=0)


def test_trees_learn_classes_from_features_alone(data, predicted):
    assert predicted.shape == (ROWS, 4) and predicted.dtype == np.float32
    others = np.arange(len(TRAIN), ROWS)
    assert macro_f1(data[1][others, :3], predicted[others, :3] >= 0.5) > 0.95


def test_the_same_seed_gives_the_same_bits(data, predicted):
    features_NF, truth_NC = data
    again = feature_trees.fit_and_predict(features_NF, truth_NC[: len(TRAIN)], TRAIN, seed=0)
    assert np.array_equal(again, predicted)


def test_only_training_rows_are_fitted(data, predicted):
    features_NF, truth_NC = data
    changed_NC = truth_NC.copy()
    changed_NC[len(TRAIN) :] = ~changed_NC[len(TRAIN) :]  # labels of rows that are not trained on
    again = feature_trees.fit_and_predict(features_NF, changed_NC, TRAIN, seed=0)
    assert np.array_equal(again, predicted)


def test_a_class_of_none_or_all_training_rows_is_predicted_as_such(data, predicted):
    assert not predicted[:, 3].any()
    all_NC = np.ones((len(TRAIN), 1), bool)
    assert (feature_trees.fit_and_predict(data[0], all_NC, TRAIN, seed=0) == 1).all()


def test_infinity_counts_as_the_largest_value(data):
    features_NF, truth_NC = data
    largest_NF = np.where(np.isinf(features_NF), 1e30, features_NF)
    found, expected = (
        feature_trees.fit_and_predict(one_NF, truth_NC[: len(TRAIN), :1], TRAIN, seed=0)
        for one_NF in (features_NF, largest_NF)
    )
    assert np.array_equal(found, expected)
