import numpy as np
import pytest
from sklearn.metrics import f1_score

from lib import files
from lib.config import Threshold
from lib.errors import UserError
from lib.evaluation import calibration, thresholds


def best_by_search(truth_N, probability_N):
    """Highest F1 of all cuts there are: between any two neighbours, and below and above all."""
    cuts = np.unique(np.concatenate([probability_N, [0.0, 1.1]]))
    return max(f1_score(truth_N, probability_N >= cut, zero_division=0) for cut in cuts)


@pytest.mark.parametrize("seed", range(60))
def test_the_optimum_is_exact_ties_and_all(seed):
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


def test_neighbouring_float32_values_are_parted():
    high = np.float32(0.3)
    low = np.nextafter(high, np.float32(0))
    threshold, f1 = thresholds.best_f1_threshold(np.array([True, False]), np.array([high, low]))
    assert f1 == 1.0
    assert thresholds.decide(np.array([[high], [low]]), np.array([threshold])).ravel().tolist() == [
        True,
        False,
    ]


def test_of_equal_cuts_the_highest_is_taken():
    # after the first and after the third sample F1 is 2/3 alike
    truth_N = np.array([True, False, True, False, False])
    threshold, f1 = thresholds.best_f1_threshold(truth_N, np.array([0.9, 0.7, 0.6, 0.2, 0.1]))
    assert (threshold, f1) == (0.4, 0.8)
    threshold, f1 = thresholds.best_f1_threshold(
        np.array([True, False, False, True]), np.array([0.8, 0.6, 0.4, 0.2])
    )
    assert f1 == pytest.approx(2 / 3) and threshold == pytest.approx(0.7)


def rule(settings, truth_NC, probabilities_NC, frequency_C=None):
    frequency_C = truth_NC.mean(axis=0) if frequency_C is None else np.asarray(frequency_C)
    return thresholds.choose(thresholds.Known(truth_NC, probabilities_NC, frequency_C), settings)


@pytest.fixture(scope="module")
def drawn():
    """Truth of 3,000 samples and probabilities that are right on average; classes of 40 % down to none."""
    random = np.random.default_rng(5)
    offset_C = np.array([-0.5, -2.0, -4.0, -6.0, -60.0])
    logit_NC = random.normal(0, 2, (3000, 5)) + offset_C
    probabilities_NC = 1 / (1 + np.exp(-logit_NC))
    return random.uniform(size=(3000, 5)) < probabilities_NC, probabilities_NC


def test_classes_without_samples_keep_the_fixed_value_or_take_the_global_one():
    truth_NC = np.zeros((4, 28), bool)
    truth_NC[:2, 3] = True
    probabilities_NC = np.full((4, 28), 0.2, np.float32)
    probabilities_NC[:, 3] = [0.4, 0.3, 0.1, 0.05]
    tuned_C = rule(Threshold("f1", fixed=0.6), truth_NC, probabilities_NC)(probabilities_NC)
    assert tuned_C[3] == pytest.approx(0.2) and set(np.delete(tuned_C, 3)) == {0.6}
    assert set(rule(Threshold("fixed", 0.6), truth_NC, probabilities_NC)(probabilities_NC)) == {0.6}
    for method in ("global", "shrunk", "cross_validated"):
        tuned_C = rule(Threshold(method), truth_NC, probabilities_NC)(probabilities_NC)
        assert np.delete(tuned_C, 3) == pytest.approx(np.full(27, 0.2)), method


@pytest.mark.parametrize("seed", range(20))
def test_the_global_optimum_is_exact_ties_and_all(seed):
    random = np.random.default_rng(seed)
    truth_NC = random.uniform(size=(9, 4)) < [0.5, 0.3, 0.2, 0.0]
    truth_NC[0, 0] = True
    steps = 5 if seed % 2 else 1000
    probabilities_NC = (random.integers(0, steps + 1, (9, 4)) / steps).astype(np.float32)
    present = truth_NC.any(axis=0)

    def score(cut):
        chosen_NC = probabilities_NC[:, present] >= cut
        return f1_score(truth_NC[:, present], chosen_NC, average="macro", zero_division=0)

    threshold, best = thresholds.best_global_threshold(truth_NC, probabilities_NC)
    assert best == pytest.approx(max(map(score, [*np.unique(probabilities_NC), 1.1])))
    assert score(threshold) == pytest.approx(best)


def test_the_fewer_positives_the_nearer_to_the_global_threshold():
    random = np.random.default_rng(0)
    truth_NC = random.uniform(size=(1000, 2)) < [0.3, 0.004]
    probabilities_NC = np.where(truth_NC, 0.7, 0.3) + random.uniform(-0.25, 0.25, truth_NC.shape)
    own, shared, shrunk = (
        rule(Threshold(method, shrinkage=10), truth_NC, probabilities_NC)(probabilities_NC)
        for method in ("f1", "global", "shrunk")
    )
    logits = [np.log(t / (1 - t)) for t in (own, shared, shrunk)]
    share_C = (logits[2] - logits[1]) / (logits[0] - logits[1])
    positives_C = truth_NC.sum(axis=0)
    assert share_C == pytest.approx(positives_C / (positives_C + 10))
    assert share_C[1] < 0.4 < 0.95 < share_C[0]


def test_the_cross_validated_optimum_is_the_mean_over_parts():
    truth_N = np.array([True] * 5 + [False] * 5)
    # without one of the positives each, the cut above 0.4 stays where it is
    probability_N = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    threshold = thresholds.cross_validated_threshold(truth_N, probability_N)
    # four times between 0.5 or 0.6 and 0.4 or 0.3: by hand, part by part
    cuts = []
    random = np.random.default_rng(0)
    part_N = np.empty(10, int)
    part_N[random.permutation(np.arange(5))] = part_N[random.permutation(np.arange(5, 10))] = 0
    random = np.random.default_rng(0)
    part_N[random.permutation(np.arange(5))] = range(5)
    part_N[random.permutation(np.arange(5, 10))] = range(5)
    for part in range(5):
        kept = part_N != part
        low, high = probability_N[kept & ~truth_N].max(), probability_N[kept & truth_N].min()
        cuts.append((low + high) / 2)
    assert threshold == pytest.approx(np.mean(cuts))


def test_as_many_pass_as_the_frequency_says():
    probability_N = np.array([0.9, 0.1, 0.8, 0.7, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0])
    for frequency, passing in ((0.3, 3), (0.26, 3), (0.01, 1), (1.0, 10), (0.0, 0)):
        cut = thresholds.frequency_threshold(probability_N, frequency)
        assert (probability_N >= cut).sum() == passing, frequency
    tied_N = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    assert (tied_N >= thresholds.frequency_threshold(tied_N, 0.4)).sum() == 1  # 2 wanted: 1 is nearer than 4
    assert (tied_N >= thresholds.frequency_threshold(tied_N, 0.6)).sum() == 4


@pytest.mark.parametrize("seed", range(10))
def test_the_expected_f1_is_at_its_largest_ties_and_all(seed):
    random = np.random.default_rng(seed)
    probability_N = np.round(random.uniform(size=12), 1 if seed % 2 else 6)
    chance_N = probability_N**2  # in the same order

    def expected(cut):
        above = probability_N >= cut
        return 2 * chance_N[above].sum() / (above.sum() + chance_N.sum()) if above.any() else 0

    cut = thresholds.expected_f1_threshold(probability_N, chance_N)
    assert expected(cut) == pytest.approx(max(map(expected, np.unique(probability_N))))


def test_a_class_that_no_sample_can_carry_is_given_to_none():
    probability_N = np.array([0.0, 0.0, 0.0])
    assert not (probability_N >= thresholds.expected_f1_threshold(probability_N, probability_N)).any()


def test_without_labels_the_expected_optimum_is_close_to_the_true_one(drawn):
    truth_NC, probabilities_NC = drawn
    half = len(truth_NC) // 2
    tuned = rule(Threshold("expected_f1"), truth_NC[:half], probabilities_NC[:half])
    other_NC = probabilities_NC[half:]
    for label in range(3):
        best = thresholds.best_f1_threshold(truth_NC[half:, label], other_NC[:, label])[1]
        found = f1_score(truth_NC[half:, label], other_NC[:, label] >= tuned(other_NC)[label])
        assert found > best - 0.03, label


def test_calibration_undoes_what_is_too_sure_where_labels_tell(drawn):
    truth_NC, true_NC = drawn
    said_NC = 1 / (1 + ((1 - true_NC) / true_NC) ** 2)  # logits doubled
    right_C = rule(Threshold("expected_f1", calibration="none"), truth_NC, true_NC)(true_NC)
    wrong_C = rule(Threshold("expected_f1", calibration="none"), truth_NC, said_NC)(said_NC)
    cured_C = rule(Threshold("expected_f1", calibration="class"), truth_NC, said_NC)(said_NC)
    passing = [(p >= cut).mean(axis=0)[:2] for p, cut in
               ((true_NC, right_C), (said_NC, wrong_C), (said_NC, cured_C))]  # fmt: skip
    assert np.abs(passing[2] - passing[0]).max() < 0.02 < np.abs(passing[1] - passing[0]).max()


def test_frequencies_are_estimated_where_classes_have_become_rarer(drawn):
    truth_NC, probabilities_NC = drawn
    random = np.random.default_rng(1)
    keep = ~truth_NC[:, 0] | (random.uniform(size=len(truth_NC)) < 0.3)  # class 0 becomes rarer
    now_C, before_C = truth_NC[keep].mean(axis=0), truth_NC.mean(axis=0)
    found_C = calibration.estimate_frequencies(probabilities_NC[keep], before_C)
    assert found_C[0] == pytest.approx(now_C[0], abs=0.05) and before_C[0] > now_C[0] + 0.15
    assert found_C[4] == 0
    settings = Threshold("frequency", frequencies="estimated", calibration="none")
    cut_C = rule(settings, truth_NC, probabilities_NC)(probabilities_NC[keep])
    assert (probabilities_NC[keep] >= cut_C).mean(axis=0) == pytest.approx(found_C, abs=1 / 1000)


def test_moved_probabilities_by_hand():
    # odds of 1 where half carry the class; where a fifth does, odds of 1/4
    moved_NC = calibration.moved(
        np.array([[0.5, 0.0, 0.7]]), np.array([0.5, 0.5, 0]), np.array([0.2, 0.2, 0.2])
    )
    assert moved_NC == pytest.approx(np.array([[0.2, 0, 0.7]]))


def test_frequencies_of_a_table(tmp_path):
    path = tmp_path / "frequencies.csv"
    path.write_text("class,frequency\nNucleoplasm,0.36\n25,0.2\n")
    found_C = thresholds.read_frequencies(str(path), np.full(28, 0.1))
    assert (found_C[0], found_C[25], found_C[1]) == (0.36, 0.2, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,share\n0,1\n", "frequencies.csv has the columns class,share; expected class,frequency"),
        ("class,frequency\n28,1\n", "line 2: '28' is none of the 28; expected 0-27 or a name"),
        ("class,frequency\n0,0.1\n1,30%\n", "line 3: frequency '30%'; expected a number, 0 to 1"),
        ("class,frequency\n0,1.1\n", "line 2: frequency '1.1'; expected a number, 0 to 1"),
    ],
)
def test_a_table_of_frequencies_is_checked(tmp_path, text, message):
    (tmp_path / "frequencies.csv").write_text(text)
    with pytest.raises(UserError) as refusal:
        thresholds.read_frequencies(str(tmp_path / "frequencies.csv"), np.zeros(28))
    assert message in str(refusal.value)
    with pytest.raises(UserError, match=r"threshold.frequencies=tset: expected training, estimated"):
        thresholds.read_frequencies("tset", np.zeros(28))


def test_at_most_so_many_labels_those_furthest_above_their_thresholds():
    probabilities_NC = np.array([[0.9, 0.5, 0.05, 0.6], [0.2, 0.1, 0.0, 0.1]])
    thresholds_C = np.array([0.8, 0.4, 0.001, 0.7])
    decided_NC = thresholds.submitted(probabilities_NC, thresholds_C, max_labels=2)
    assert decided_NC.tolist() == [[True, False, True, False], [True, False, False, False]]
    assert thresholds.submitted(probabilities_NC, thresholds_C)[0].sum() == 3


def test_only_labels_that_stage_1_admits():
    probabilities_NC = np.array([[0.9, 0.8, 0.1], [0.9, 0.1, 0.3], [0.9, 0.1, 0.3]])
    allowed_NC = np.array([[True, False, True], [False, True, True], [False, False, False]])
    decided_NC = thresholds.submitted(probabilities_NC, np.full(3, 0.5), allowed_NC=allowed_NC)
    # the second has no yes among what is admitted: the most probable of that; the third is not held to it
    assert decided_NC.tolist() == [[True, False, False], [False, False, True], [True, False, False]]


def test_empty_rows_get_the_most_probable_class():
    probabilities_NC = np.zeros((2, 28), np.float32)
    probabilities_NC[0, 7], probabilities_NC[1, 2], probabilities_NC[1, 9] = 0.4, 0.9, 0.95
    decision_NC = thresholds.decide(probabilities_NC, np.where(np.arange(28) == 2, 0.8, 0.99))
    filled_NC = thresholds.at_least_one(decision_NC, probabilities_NC)
    # the second row keeps its one yes, although class 9 is more probable
    assert [np.flatnonzero(row).tolist() for row in filled_NC] == [[7], [2]]
    assert not decision_NC[0].any(), "the decisions handed in are left alone"


def test_thresholds_survive_their_file(tmp_path):
    path = tmp_path / "baseline.json"
    thresholds_C = {name: np.random.default_rng(0).uniform(size=28) for name in ("validation", "test")}
    files.write_json(path, thresholds.as_table(thresholds_C))
    assert np.array_equal(thresholds.load(path, "test"), thresholds_C["test"])
    with pytest.raises(UserError, match=r"has no thresholds for holdout: run `python 04_threshold"):
        thresholds.load(path, "holdout")
