import numpy as np
import pytest

from lib.errors import UserError
from lib.evaluation import ensemble, predictions
from lib.evaluation.predictions import PredictionTable, Predictor


def table(ids, **columns):
    """A table with the given probabilities of classes by number (c0, c1 ...), and 0.5 for all others."""
    probabilities_NC = np.full((len(ids), 28), 0.5, np.float32)
    for name, values in columns.items():
        probabilities_NC[:, int(name[1:])] = values
    return PredictionTable(list(ids), probabilities_NC)


def test_probabilities_are_averaged_by_id():
    one, two = table("ab", c0=[0.2, 0.8]), table("ba", c0=[0.4, 0.0])
    combined = ensemble.combine([one, two], ["a", "b"], "test", np.array([0.5, 0.5]), ranks=False)
    assert combined.ids == ["a", "b"] and combined.probabilities_NC[:, 0] == pytest.approx([0.1, 0.6])
    combined = ensemble.combine([one, two], ["b"], "test", np.array([0.75, 0.25]), ranks=False)
    assert combined.probabilities_NC[0, 0] == pytest.approx(0.7)
    with pytest.raises(UserError) as error:
        ensemble.combine([one, two], ["a", "c"], "the test subset", np.array([0.5, 0.5]), ranks=False)
    assert "the test subset" in str(error.value) and " c" in str(error.value)


def test_ranks_are_averaged_with_ties():
    one, two = table("abcd", c0=[0.1, 0.2, 0.2, 0.9]), table("abcd", c0=[0.99, 0.97, 0.98, 0.96])
    combined = ensemble.combine([one, two], list("abcd"), "test", np.array([0.5, 0.5]), ranks=True)
    # ranks 1 2.5 2.5 4 and 4 2 3 1, of 4
    assert combined.probabilities_NC[:, 0] == pytest.approx([2.5 / 4, 2.25 / 4, 2.75 / 4, 2.5 / 4])


def test_a_class_that_a_predictor_does_not_know_is_the_mean_of_the_others():
    every = table("ab", c0=[0.2, 0.8], c8=[0.6, 0.7])
    some = predictions.from_outputs(["a", "b"], np.array([[0.4], [1.0]]), [0])
    combined = ensemble.combine([every, some], ["a", "b"], "test", np.array([0.25, 0.75]), ranks=False)
    assert combined.probabilities_NC[:, 0] == pytest.approx([0.35, 0.95])
    assert combined.probabilities_NC[:, 8] == pytest.approx([0.6, 0.7])
    combined = ensemble.combine([some, some], ["a", "b"], "test", np.array([0.5, 0.5]), ranks=False)
    assert not combined.probabilities_NC[:, 8].any() and np.flatnonzero(combined.known_C).tolist() == [0]


def simulated(seed, samples, *noise):
    """Labels, and probabilities of predictors whose logits have the given noise."""
    random = np.random.default_rng(seed)
    logit_NC = random.normal(-1, 2, (samples, 6))
    truth_NC = random.uniform(size=logit_NC.shape) < 1 / (1 + np.exp(-logit_NC))
    tables = [1 / (1 + np.exp(-logit_NC - random.normal(0, spread, logit_NC.shape))) for spread in noise]
    return truth_NC, np.stack(tables)


def test_the_better_predictor_gets_the_larger_weight():
    truth_NC, probabilities_MNC = simulated(0, 1000, 0.1, 4.0, 4.0)
    weight_M, learnt_share = ensemble.learn_weights(probabilities_MNC, truth_NC)
    assert weight_M.sum() == pytest.approx(1) and learnt_share == 1 and weight_M[0] > 0.9


def test_a_rare_class_has_a_say_in_the_weights():
    truth_NC = np.random.default_rng(0).uniform(size=(2000, 2)) < [0.5, 0.02]
    guessed_NC = np.broadcast_to([0.5, 0.02], truth_NC.shape)
    known_NC = np.where(truth_NC, [0.9, 0.5], [0.1, 0.01])
    # one predictor knows the frequent class, one the rare class; the other class is guessed
    tables = [np.where(known, known_NC, guessed_NC) for known in ([True, False], [False, True])]
    (frequent, rare), _ = ensemble.learn_weights(np.stack(tables), truth_NC)
    assert frequent > rare > 0.2, "0.007 if all labels counted equally"


def test_the_weights_maximise_the_likelihood():
    truth_NC, probabilities_MNC = simulated(1, 400, 1.0, 1.5)
    likelihood_MNC = np.where(truth_NC, probabilities_MNC, 1 - probabilities_MNC)
    found = ensemble._maximise_likelihood(likelihood_MNC, np.ones(6))[0]
    grid = np.linspace(0, 1, 1001)
    totals = [np.log(w * likelihood_MNC[0] + (1 - w) * likelihood_MNC[1]).sum() for w in grid]
    assert found == pytest.approx(grid[int(np.argmax(totals))], abs=0.01)


def test_weights_from_few_samples_stay_nearly_equal():
    shares, spreads = [], []
    for seed in range(20):
        truth_NC, probabilities_MNC = simulated(seed, 15, *[1.0] * 8)  # 8 equally good predictors
        weight_M, learnt_share = ensemble.learn_weights(probabilities_MNC, truth_NC)
        shares.append(learnt_share)
        spreads.append(np.ptp(weight_M))
    assert np.mean(shares) < 0.5 and np.median(spreads) < 0.3


def test_members_are_named_and_checked():
    known = ["a", "b", "ensemble"]
    assert ensemble.choose_members("none", known) == []
    assert ensemble.choose_members("all", known) == ["a", "b"]
    assert ensemble.choose_members("all", ["a", "ensemble"]) == []
    assert ensemble.choose_members("b,a,b", known) == ["b", "a"]
    with pytest.raises(UserError, match=r"ensemble.members=a,c: .*\bc\b.*; there are a b$"):
        ensemble.choose_members("a,c", known)
    with pytest.raises(UserError, match=r"ensemble.members=a: expected at least two of a b$"):
        ensemble.choose_members("a", known)


@pytest.fixture
def folder(tmp_path):
    """Predictions of two predictors for 200 validation and 2 test samples; of one, for training too."""
    truth_NC, (good_NC, bad_NC) = simulated(0, 200, 0.1, 6.0)
    ids = {"train": ["t"], "validation": [f"v{row}" for row in range(200)], "test": ["y", "x"]}
    for name, probabilities_NC in (("good", good_NC), ("bad", bad_NC)):
        padded_NC = np.pad(probabilities_NC.astype(np.float32), [(0, 0), (0, 22)])
        path = tmp_path / "predictions" / name
        predictions.save(path / "validation.npz", PredictionTable(ids["validation"], padded_NC))
        predictions.save(path / "test.npz", PredictionTable(["x", "y"], padded_NC[:2]))
    predictions.save(tmp_path / "predictions" / "good" / "train.npz", PredictionTable(["t"], padded_NC[:1]))
    return tmp_path / "predictions", ids, np.pad(truth_NC, [(0, 0), (0, 22)])


@pytest.mark.parametrize("method", ensemble.METHODS)
def test_tables_are_written_for_the_subsets_that_all_members_predict(folder, method):
    folder, ids, truth_NC = folder
    (folder / "ensemble").mkdir()
    (folder / "ensemble" / "train.npz").write_bytes(b"of members that had predicted it")
    weights = ensemble.make(folder, ["good", "bad"], method, ids, truth_NC)
    assert list(weights) == ["good", "bad"] and sum(weights.values()) == pytest.approx(1)
    assert Predictor.read(folder / "ensemble") == Predictor("ensemble", members=weights, method=method)
    assert sorted(path.name for path in (folder / "ensemble").glob("*.npz")) == ["test.npz", "validation.npz"]
    found = predictions.load(folder / "ensemble" / "test.npz")
    assert found.ids == ["y", "x"]
    good_NC, bad_NC = (
        predictions.load(folder / name / "test.npz").select(["y", "x"], "test") for name in ("good", "bad")
    )
    if method == "mean":
        assert weights["good"] == 0.5
        assert found.probabilities_NC == pytest.approx((good_NC + bad_NC) / 2)
    if method == "weighted":
        assert weights["good"] > 0.8
        mean_NC = weights["good"] * good_NC + weights["bad"] * bad_NC
        assert found.probabilities_NC == pytest.approx(mean_NC, abs=1e-6)
    if method == "rank_mean":
        assert set(found.probabilities_NC.ravel()) <= {0.5, 0.75, 1.0}  # means of ranks 1, 1.5 and 2, of 2


def test_an_unknown_method_is_an_error(folder):
    folder, ids, truth_NC = folder
    with pytest.raises(ValueError, match="median"):
        ensemble.make(folder, ["good", "bad"], "median", ids, truth_NC)
