import numpy as np

from lib.evaluation.intervals import macro_f1_interval
from lib.evaluation.metrics import macro_f1


def test_intervals_cover_the_macro_f1_of_the_population_as_often_as_stated():
    random = np.random.default_rng(0)
    frequency_C = np.array([0.4, 0.2, 0.1, 0.05])

    def draw(samples):
        truth_NC = random.uniform(size=(samples, 4)) < frequency_C
        return truth_NC, np.where(random.uniform(size=truth_NC.shape) < 0.85, truth_NC, ~truth_NC)

    true = macro_f1(*draw(200_000))
    intervals = [macro_f1_interval(*draw(400), draws=300) for _ in range(100)]
    assert 0.88 <= np.mean([low <= true <= high for low, high in intervals]) <= 1.0
    assert 0.03 < np.mean([high - low for low, high in intervals]) < 0.15


def test_a_lower_level_gives_a_narrower_interval_around_the_score():
    random = np.random.default_rng(1)
    truth_NC, decision_NC = random.uniform(size=(2, 200, 3)) < 0.4
    (low, high), (lower, higher) = (
        macro_f1_interval(truth_NC, decision_NC, 200, level) for level in (0.5, 0.95)
    )
    assert lower < low < macro_f1(truth_NC, decision_NC) < high < higher
    assert macro_f1_interval(truth_NC, decision_NC, 200) == (lower, higher), "the same on every call"


def test_a_class_with_one_sample_does_not_bias_the_interval_downwards():
    truth_NC = np.zeros((50, 2), bool)
    truth_NC[:20, 0] = truth_NC[0, 1] = True
    assert macro_f1_interval(truth_NC, truth_NC) == (1.0, 1.0)
