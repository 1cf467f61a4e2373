import numpy as np
import pytest

from lib.errors import UserError
from lib.evaluation import ensemble, predictions
from lib.evaluation.predictions import PredictionTable


def table(ids, **columns):
    """A table that says what is given of classes by number, and 0.5 of all others."""
    probabilities_NC = np.full((len(ids), 28), 0.5, np.float32)
    for name, values in columns.items():
        probabilities_NC[:, int(name[1:])] = values
    return PredictionTable(list(ids), probabilities_NC)


def test_probabilities_are_averaged_by_id():
    one, two = table("ab", c0=[0.2, 0.8]), table("ba", c0=[0.4, 0.0])
    joined = ensemble.combine([one, two], ["a", "b"], "test", np.array([0.5, 0.5]), ranks=False)
    assert joined.ids == ["a", "b"] and joined.probabilities_NC[:, 0] == pytest.approx([0.1, 0.6])
    joined = ensemble.combine([one, two], ["b"], "test", np.array([0.75, 0.25]), ranks=False)
    assert joined.probabilities_NC[0, 0] == pytest.approx(0.7)
    with pytest.raises(UserError, match="no prediction for 1 of the 2 ids of test, c for one"):
        ensemble.combine([one, two], ["a", "c"], "test", np.array([0.5, 0.5]), ranks=False)


def test_ranks_are_averaged_ties_and_all():
    one, two = table("abcd", c0=[0.1, 0.2, 0.2, 0.9]), table("abcd", c0=[0.99, 0.97, 0.98, 0.96])
    joined = ensemble.combine([one, two], list("abcd"), "test", np.array([0.5, 0.5]), ranks=True)
    # ranks 1 2.5 2.5 4 and 4 2 3 1, of 4
    assert joined.probabilities_NC[:, 0] == pytest.approx([2.5 / 4, 2.25 / 4, 2.75 / 4, 2.5 / 4])


def test_missing_classes_are_left_to_the_others():
    whole = table("ab", c0=[0.2, 0.8], c8=[0.6, 0.7])
    part = predictions.of_classes(["a", "b"], np.array([[0.4], [1.0]]), [0])
    joined = ensemble.combine([whole, part], ["a", "b"], "test", np.array([0.25, 0.75]), ranks=False)
    assert joined.probabilities_NC[:, 0] == pytest.approx([0.35, 0.95])
    assert joined.probabilities_NC[:, 8] == pytest.approx([0.6, 0.7])  # what the one says that knows
    only = ensemble.combine([part, part], ["a", "b"], "test", np.array([0.5, 0.5]), ranks=False)
    assert not only.probabilities_NC[:, 8].any() and np.flatnonzero(only.known_C).tolist() == [0]


def drawn(seed, samples, *noise):
    """Truth and what predictors say of it that are right on average of what they see: more noise, less."""
    random = np.random.default_rng(seed)
    logit_NC = random.normal(-1, 2, (samples, 6))
    truth_NC = random.uniform(size=logit_NC.shape) < 1 / (1 + np.exp(-logit_NC))
    said = [1 / (1 + np.exp(-logit_NC - random.normal(0, spread, logit_NC.shape))) for spread in noise]
    return truth_NC, np.stack(said)


def test_weights_find_the_better_predictor():
    truth_NC, said_MNC = drawn(0, 1000, 0.1, 4.0, 4.0)
    weight_M, trust = ensemble.learn_weights(said_MNC, truth_NC)
    assert weight_M.sum() == pytest.approx(1) and trust == 1 and weight_M[0] > 0.9


def test_weights_are_where_the_likelihood_is_largest():
    truth_NC, said_MNC = drawn(1, 400, 1.0, 1.5)
    likely_MNC = np.where(truth_NC, said_MNC, 1 - said_MNC)
    found = ensemble._most_likely(likely_MNC, np.ones(6))[0]
    grid = np.linspace(0, 1, 1001)
    gains = [np.log(w * likely_MNC[0] + (1 - w) * likely_MNC[1]).sum() for w in grid]
    assert found == pytest.approx(grid[int(np.argmax(gains))], abs=0.01)


def test_weights_that_cannot_be_trusted_stay_near_even():
    trusts, spreads = [], []
    for seed in range(20):
        truth_NC, said_MNC = drawn(seed, 15, *[1.0] * 8)  # 8 alike, few samples
        weight_M, trust = ensemble.learn_weights(said_MNC, truth_NC)
        trusts.append(trust)
        spreads.append(np.ptp(weight_M))
    assert np.mean(trusts) < 0.5 and np.median(spreads) < 0.3


def test_members_are_named_and_checked():
    known = ["a", "b", "ensemble"]
    assert ensemble.choose_members("none", known) == []
    assert ensemble.choose_members("all", known) == ["a", "b"]
    assert ensemble.choose_members("all", ["a", "ensemble"]) == []
    assert ensemble.choose_members("b,a,b", known) == ["b", "a"]
    with pytest.raises(UserError, match=r"ensemble.members=a,c: c is no predictor; there are a b$"):
        ensemble.choose_members("a,c", known)
    with pytest.raises(UserError, match=r"ensemble.members=a: expected at least two of a b"):
        ensemble.choose_members("a", known)
