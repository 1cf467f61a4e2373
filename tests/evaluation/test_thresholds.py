import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import f1_score

from lib import files
from lib.errors import UserError
from lib.evaluation import calibration, thresholds
from lib.evaluation.predictions import LabelledPredictions
from lib.labels import CLASSES
from lib.sections import Threshold


def best_by_search(truth_N, probability_N):
    """Return the highest F1 of all thresholds: between any two neighbours, and below and above all."""
    candidates = np.unique(np.concatenate([probability_N, [0.0, 1.1]]))
    return max(f1_score(truth_N, probability_N >= threshold, zero_division=0) for threshold in candidates)


@pytest.mark.parametrize("seed", range(60))
def test_the_optimum_is_exact_with_and_without_ties(seed):
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 14))
    truth_N = generator.uniform(size=count) < 0.4
    truth_N[generator.integers(count)] = True
    steps = 4 if seed % 2 else 1000  # few values: many ties
    probability_N = (generator.integers(0, steps + 1, count) / steps).astype(np.float32)
    threshold, f1 = thresholds.best_f1_threshold(truth_N, probability_N)
    assert 0 <= threshold <= 1
    assert f1 == pytest.approx(best_by_search(truth_N, probability_N))
    decision_N = thresholds.decide(probability_N[:, None], np.array([threshold]))[:, 0]
    assert f1_score(truth_N, decision_N, zero_division=0) == pytest.approx(f1)


def test_neighbouring_float32_values_are_separated():
    high = np.float32(0.3)
    low = np.nextafter(high, np.float32(0))
    threshold, f1 = thresholds.best_f1_threshold(np.array([True, False]), np.array([high, low]))
    assert f1 == 1.0
    decision_N1 = thresholds.decide(np.array([[high], [low]]), np.array([threshold]))
    assert decision_N1.ravel().tolist() == [True, False]


def test_of_equally_good_thresholds_the_highest_is_returned():
    truth_N = np.array([True, False, True, False, False])
    threshold, f1 = thresholds.best_f1_threshold(truth_N, np.array([0.9, 0.7, 0.6, 0.2, 0.1]))
    assert (threshold, f1) == (0.4, 0.8)
    # F1 is 2/3 after the first and after the last sample
    threshold, f1 = thresholds.best_f1_threshold(
        np.array([True, False, False, True]), np.array([0.8, 0.6, 0.4, 0.2])
    )
    assert f1 == pytest.approx(2 / 3) and threshold == pytest.approx(0.7)


def rule(settings, truth_NC, probabilities_NC, frequency_C=None):
    frequency_C = truth_NC.mean(axis=0) if frequency_C is None else np.asarray(frequency_C)
    return thresholds.choose(LabelledPredictions(truth_NC, probabilities_NC), frequency_C, settings)


def test_classes_without_samples_get_the_fixed_or_the_global_threshold():
    truth_NC = np.zeros((4, 28), bool)
    truth_NC[:2, 3] = True
    probabilities_NC = np.full((4, 28), 0.2, np.float32)
    probabilities_NC[:, 3] = [0.4, 0.3, 0.1, 0.05]
    tuned_C = rule(Threshold("f1", fixed=0.6), truth_NC, probabilities_NC)(probabilities_NC)
    assert tuned_C[3] == pytest.approx(0.2) and set(np.delete(tuned_C, 3)) == {0.6}
    assert set(rule(Threshold("fixed", 0.6), truth_NC, probabilities_NC)(probabilities_NC)) == {0.6}
    for method in ("global", "shrunk"):
        tuned_C = rule(Threshold(method), truth_NC, probabilities_NC)(probabilities_NC)
        assert np.delete(tuned_C, 3) == pytest.approx(np.full(27, 0.2)), method
        without_C = rule(Threshold(method, 0.6), np.zeros_like(truth_NC), probabilities_NC)(probabilities_NC)
        assert set(without_C) == {0.6}, method


def test_unknown_methods_and_calibrations_are_errors(sample):
    settings = Threshold()
    object.__setattr__(settings, "method", "f2")  # past the settings' own validation
    with pytest.raises(ValueError, match="f2"):
        rule(settings, *sample)
    settings = Threshold()
    object.__setattr__(settings, "calibration", "isotonic")
    with pytest.raises(ValueError, match="isotonic"):
        rule(settings, *sample)


@pytest.mark.parametrize("seed", range(20))
def test_the_global_optimum_is_exact_with_and_without_ties(seed):
    random = np.random.default_rng(seed)
    truth_NC = random.uniform(size=(9, 4)) < [0.5, 0.3, 0.2, 0.0]
    truth_NC[0, 0] = True
    steps = 5 if seed % 2 else 1000
    probabilities_NC = (random.integers(0, steps + 1, (9, 4)) / steps).astype(np.float32)
    present = truth_NC.any(axis=0)

    def score(threshold):
        decision_NC = probabilities_NC[:, present] >= threshold
        return f1_score(truth_NC[:, present], decision_NC, average="macro", zero_division=0)

    threshold, best = thresholds.best_global_threshold(truth_NC, probabilities_NC)
    assert best == pytest.approx(max(map(score, [*np.unique(probabilities_NC), 1.1])))
    assert score(threshold) == pytest.approx(best)


def test_the_fewer_positives_the_nearer_to_the_global_threshold():
    random = np.random.default_rng(0)
    truth_NC = random.uniform(size=(1000, 2)) < [0.3, 0.004]
    probabilities_NC = np.where(truth_NC, 0.7, 0.3) + random.uniform(-0.25, 0.25, truth_NC.shape)
    own_C, common_C, shrunk_C = (
        rule(Threshold(method, shrinkage=10), truth_NC, probabilities_NC)(probabilities_NC)
        for method in ("f1", "global", "shrunk")
    )
    share_C = (logit(shrunk_C) - logit(common_C)) / (logit(own_C) - logit(common_C))
    positives_C = truth_NC.sum(axis=0)
    assert share_C == pytest.approx(positives_C / (positives_C + 10))
    assert share_C[1] < 0.4 < 0.95 < share_C[0]


def test_as_many_samples_are_predicted_as_the_frequency_requires():
    probability_N = np.array([0.9, 0.1, 0.8, 0.7, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0])
    for frequency, predicted in ((0.3, 3), (0.26, 3), (0.01, 1), (1.0, 10), (0.0, 0)):
        threshold = thresholds.frequency_threshold(probability_N, frequency)
        assert (probability_N >= threshold).sum() == predicted, frequency
    tied_N = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    assert (tied_N >= thresholds.frequency_threshold(tied_N, 0.4)).sum() == 1  # of 2: 1 is nearer than 4
    assert (tied_N >= thresholds.frequency_threshold(tied_N, 0.6)).sum() == 4
    for value in (0.0, 0.3):  # a class that a predictor does not know: all or none
        equal_N = np.full(1000, value)
        assert not (equal_N >= thresholds.frequency_threshold(equal_N, 0.002)).any(), "of 2, 0 is nearest"
        assert (equal_N >= thresholds.frequency_threshold(equal_N, 0.998)).all()


@pytest.mark.parametrize("seed", range(10))
def test_the_expected_f1_is_maximal_with_and_without_ties(seed):
    random = np.random.default_rng(seed)
    probability_N = np.round(random.uniform(size=12), 1 if seed % 2 else 6)
    calibrated_N = probability_N**2  # in the same order

    def expected(threshold):
        above_N = probability_N >= threshold
        return 2 * calibrated_N[above_N].sum() / (above_N.sum() + calibrated_N.sum()) if above_N.any() else 0

    threshold = thresholds.expected_f1_threshold(probability_N, calibrated_N)
    assert expected(threshold) == pytest.approx(max(map(expected, np.unique(probability_N))))


def test_a_class_with_only_zeros_is_never_predicted():
    probability_N = np.zeros(3)
    assert not (probability_N >= thresholds.expected_f1_threshold(probability_N, probability_N)).any()


def test_the_expected_optimum_on_unlabelled_samples_is_close_to_the_true_one(sample):
    truth_NC, probabilities_NC = sample
    half = len(truth_NC) // 2
    choose = rule(Threshold("expected_f1"), truth_NC[:half], probabilities_NC[:half])
    other_NC = probabilities_NC[half:]
    for label in range(3):
        best = thresholds.best_f1_threshold(truth_NC[half:, label], other_NC[:, label])[1]
        found = f1_score(truth_NC[half:, label], other_NC[:, label] >= choose(other_NC)[label])
        assert found > best - 0.03, label


def test_calibration_corrects_overconfident_probabilities(sample):
    truth_NC, true_NC = sample
    overconfident_NC = expit(2 * logit(true_NC))

    def predicted(probabilities_NC, name):
        settings = Threshold("expected_f1", calibration=name)
        chosen_C = rule(settings, truth_NC, probabilities_NC)(probabilities_NC)
        return (probabilities_NC >= chosen_C).mean(axis=0)[:2]

    true_C = predicted(true_NC, "none")
    assert np.abs(predicted(overconfident_NC, "none") - true_C).max() > 0.02
    assert np.abs(predicted(overconfident_NC, "class") - true_C).max() < 0.02


def test_thresholds_by_frequency_follow_the_frequencies_of_the_setting(sample):
    truth_NC, probabilities_NC = sample
    given_C = np.array([0.1, 0.2, 0.3, 0.4, 0.0])
    random = np.random.default_rng(1)
    keep_N = ~truth_NC[:, 0] | (random.uniform(size=len(truth_NC)) < 0.3)  # class 0 becomes rarer
    test_NC = probabilities_NC[keep_N]
    estimated_C = calibration.estimate_frequencies(test_NC, truth_NC.mean(axis=0))
    for frequencies, wanted_C in (
        ("training", given_C), ("a.csv", given_C), ("estimated", estimated_C),
    ):  # fmt: skip
        settings = Threshold("frequency", frequencies=frequencies, calibration="none")
        chosen_C = rule(settings, truth_NC, probabilities_NC, given_C)(test_NC)
        assert (test_NC >= chosen_C).mean(axis=0) == pytest.approx(wanted_C, abs=1e-3), frequencies


def test_expected_f1_uses_the_frequencies_of_the_setting(sample):
    truth_NC, probabilities_NC = sample

    def predicted(frequencies, factor):
        settings = Threshold("expected_f1", frequencies=frequencies, calibration="none")
        chosen_C = rule(settings, truth_NC, probabilities_NC, truth_NC.mean(axis=0) * factor)(
            probabilities_NC
        )
        return (probabilities_NC >= chosen_C).mean(axis=0)[1]

    assert predicted("a.csv", 0.3) < predicted("a.csv", 1) < predicted("a.csv", 3)
    assert predicted("training", 0.3) == predicted("training", 3) == predicted("a.csv", 1)


def test_frequencies_are_read_from_a_table(tmp_path):
    path = tmp_path / "frequencies.csv"
    path.write_text("class,frequency\nNucleoplasm,0.36\n25,0.2\n")
    found_C = thresholds.read_frequencies(str(path), np.full(28, 0.1))
    assert (found_C[0], found_C[25], found_C[1]) == (0.36, 0.2, 0.1)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("class,share\n0,1\n", ("class,share", "class,frequency")),
        ("class,frequency\n28,1\n", ("line 2", "'28'", "0-27")),
        ("class,frequency\n0,0.1\n1,30%\n", ("line 3", "'30%'", "0 to 1")),
        ("class,frequency\n0,1.1\n", ("line 2", "'1.1'", "0 to 1")),
        ("class,frequency\n0,nan\n", ("line 2", "'nan'", "0 to 1")),
        ("class,frequency\n0,0.1\nNucleoplasm,0.2\n", ("line 3", "Nucleoplasm", "once")),
    ],
)
def test_a_table_of_frequencies_is_checked(tmp_path, text, pieces):
    path = tmp_path / "frequencies.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        thresholds.read_frequencies(str(path), np.zeros(28))
    assert all(piece in str(error.value) for piece in (str(path), *pieces))


def test_a_missing_table_of_frequencies_lists_the_choices():
    with pytest.raises(
        UserError, match=r"threshold.frequencies=tset: .*training, estimated.*class,frequency"
    ):
        thresholds.read_frequencies("tset", np.zeros(28))


def test_only_the_labels_furthest_above_their_thresholds_are_kept():
    probabilities_NC = np.array([[0.9, 0.5, 0.05, 0.6], [0.2, 0.1, 0.0, 0.1]])
    thresholds_C = np.array([0.8, 0.4, 0.001, 0.7])
    decision_NC = thresholds.final_decisions(probabilities_NC, thresholds_C, max_labels=2)
    assert decision_NC.tolist() == [[True, False, True, False], [True, False, False, False]]
    assert thresholds.final_decisions(probabilities_NC, thresholds_C)[0].sum() == 3


def test_only_labels_that_stage_1_accepts():
    probabilities_NC = np.array([[0.9, 0.8, 0.1], [0.9, 0.1, 0.3], [0.1, 0.9, 0.7]])
    allowed_NC = np.array([[True, False, True], [False, True, True], [False, False, False]])
    decision_NC = thresholds.final_decisions(probabilities_NC, np.full(3, 0.5), allowed_NC=allowed_NC)
    # nothing accepted reaches its threshold in the second sample: the most probable of what is accepted;
    # nothing is accepted in the third: no restriction
    assert decision_NC.tolist() == [[True, False, False], [False, False, True], [False, True, True]]


def test_samples_without_a_label_get_the_most_probable_class():
    probabilities_NC = np.zeros((2, 28), np.float32)
    probabilities_NC[0, 7], probabilities_NC[1, 2], probabilities_NC[1, 9] = 0.4, 0.9, 0.95
    decision_NC = thresholds.decide(probabilities_NC, np.where(np.arange(28) == 2, 0.8, 0.99))
    filled_NC = thresholds.at_least_one(decision_NC, probabilities_NC)
    # the second sample keeps its one label, although class 9 is more probable
    assert [np.flatnonzero(row).tolist() for row in filled_NC] == [[7], [2]]
    assert not decision_NC[0].any(), "the original decisions are unchanged"


@pytest.mark.parametrize("max_labels", [0, 2])
@pytest.mark.parametrize("restricted", [False, True])
def test_thresholds_may_differ_from_sample_to_sample(max_labels, restricted):
    random = np.random.default_rng(0)
    probabilities_NC, allowed_NC = random.uniform(size=(60, 5)), random.uniform(size=(60, 5)) < 0.6
    thresholds_FC = random.uniform(0.2, 0.8, (3, 5))  # of three folds
    fold_N = np.arange(60) % 3
    options = {"max_labels": max_labels, "allowed_NC": allowed_NC if restricted else None}
    decision_NC = thresholds.final_decisions(probabilities_NC, thresholds_FC[fold_N], **options)
    for fold in range(3):
        rows = fold_N == fold
        options["allowed_NC"] = allowed_NC[rows] if restricted else None
        alone_NC = thresholds.final_decisions(probabilities_NC[rows], thresholds_FC[fold], **options)
        assert np.array_equal(decision_NC[rows], alone_NC)
    equal_NC = np.broadcast_to(thresholds_FC[0], probabilities_NC.shape)
    decision_NC = thresholds.decide(probabilities_NC, equal_NC)
    assert np.array_equal(decision_NC, thresholds.decide(probabilities_NC, thresholds_FC[0]))
    assert np.array_equal(
        thresholds.at_most(decision_NC, probabilities_NC, equal_NC, 1),
        thresholds.at_most(decision_NC, probabilities_NC, thresholds_FC[0], 1),
    )


def test_thresholds_survive_their_file_with_and_without_folds(tmp_path):
    path, random = tmp_path / "baseline.json", np.random.default_rng(0)
    by_subset = {"validation": random.uniform(size=(12, 28)), "test": random.uniform(size=28)}
    files.write_json(path, thresholds.as_table(by_subset))
    for subset, values in by_subset.items():
        folds = 12 if subset == "validation" else 1
        assert np.array_equal(thresholds.load(path, subset, folds), values)
        with pytest.raises(UserError, match=r"baseline.json is damaged .*04_threshold.py"):
            thresholds.load(path, subset, 13 - folds)
    content = files.read_json(path)
    assert content["test"]["Cytosol"] == by_subset["test"][25]
    assert list(content["validation"]) == [f"fold_{fold}" for fold in range(12)]
    assert list(content["validation"]["fold_10"]) == list(CLASSES)
    with pytest.raises(UserError, match=r"baseline.json.*holdout.*python 04_threshold.py`"):
        thresholds.load(path, "holdout")
    with pytest.raises(UserError, match=r"none.json.*04_threshold.py"):
        thresholds.load(tmp_path / "none.json", "test")
