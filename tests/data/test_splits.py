import numpy as np
import pytest

from lib.config import Split
from lib.data import kaggle, splits
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.labels import target_matrix
from lib.simulation.antibodies import label_sets
from tests.conftest import REAL, needs_real

KAGGLE_COUNTS = (
    12885, 1254, 3621, 1561, 1858, 2513, 1008, 2822, 53, 45, 28, 1093, 688, 537,
    1066, 21, 530, 210, 902, 1482, 172, 3777, 802, 2965, 322, 8228, 328, 11,
)  # fmt: skip


def random_truth(samples=1500, seed=0):
    """Label sets drawn with Kaggle's frequencies."""
    sets, shares = label_sets()
    chosen = np.random.default_rng(seed).choice(len(sets), samples, p=shares)
    return target_matrix([sets[number] for number in chosen])


def worst_deviation(truth_NC, split, shares):
    """Largest deviation from proportional, in units of what is allowed: one sample or 5 %."""
    worst = 0.0
    for subset, share in shares.items():
        wanted_C = truth_NC.sum(axis=0) * share
        found_C = truth_NC[(split["subset"] == subset).to_numpy()].sum(axis=0)
        worst = max(worst, (np.abs(found_C - wanted_C) / np.maximum(1, 0.05 * wanted_C)).max())
    return worst


def ids_of(truth_NC):
    return [f"s{row}" for row in range(len(truth_NC))]


def test_every_class_keeps_its_share():
    truth_NC = random_truth()
    split = splits.make_split(ids_of(truth_NC), truth_NC, Split(validation=0.2, holdout=0.2))
    assert list(split["id"]) == ids_of(truth_NC)
    assert worst_deviation(truth_NC, split, {"train": 0.6, "validation": 0.2, "holdout": 0.2}) < 1.5
    counts = splits.count_classes(truth_NC, split)
    assert (counts.sum(axis=1).to_numpy() == truth_NC.sum(axis=0)).all()
    assert set(split["fold"]) == {-1}


def test_seed_and_nothing_else_decides():
    truth_NC = random_truth()
    first, again, other = (
        splits.make_split(ids_of(truth_NC), truth_NC, Split(seed=seed)) for seed in (3, 3, 4)
    )
    assert first.equals(again) and not first.equals(other)


def test_folds_take_turns_as_validation():
    truth_NC = random_truth()
    made = [
        splits.make_split(ids_of(truth_NC), truth_NC, Split(folds=4, fold=fold, holdout=0.1))
        for fold in range(4)
    ]
    for fold, split in enumerate(made):
        assert split["fold"].equals(made[0]["fold"]), "the folds are the same whichever is validation"
        assert set(split.loc[split["subset"] == "validation", "fold"]) == {fold}
        assert set(split.loc[split["subset"] == "holdout", "fold"]) == {-1}
    assert sum((split["subset"] == "validation").sum() for split in made) == (made[0]["fold"] >= 0).sum()


def test_too_few_samples_are_refused():
    truth_NC = random_truth(1)
    with pytest.raises(UserError, match=r"1 samples are too few for the split: the .* subset would be empty"):
        splits.make_split(["a"], truth_NC, Split(validation=0.2))


def test_rare_class_filter_by_hand():
    # class 2 in one of five samples: below 0.3, and its sample goes although it carries class 0 too
    truth_NC = target_matrix([(0,), (0, 1), (1,), (0, 2), (1,)])
    classes = splits.frequent_classes(truth_NC, 0.3)
    assert classes.tolist() == [0, 1]
    assert splits.without_rare(truth_NC, classes).tolist() == [True, True, True, False, True]
    index = Index(list("abcde"), [(0,), (0, 1), (1,), (0, 2), (1,)], [])
    chosen, rows = splits.choose(index, {"b"}, Split(rare_class_minimum=0.3))
    assert chosen.tolist() == [0, 1] and rows.tolist() == [0, 2, 4]
    assert splits.frequent_classes(truth_NC, 0.0).tolist() == list(range(28))


def test_varied_rows_show_new_classes_first():
    truth_NC = target_matrix([(0,), (0,), (0, 1), (2,), (0,)])
    assert splits.varied_rows(truth_NC, 3) == [0, 2, 3]
    assert splits.varied_rows(truth_NC, 9) == [0, 2, 3, 1, 4]


@needs_real
def test_real_labels_filter_as_hoogenboom_did():
    ids, targets = kaggle.read_labels(REAL / "kaggle_labels")
    truth_NC = target_matrix(targets)
    assert truth_NC.sum(axis=0).tolist() == list(KAGGLE_COUNTS)
    classes, rows = splits.choose(Index(ids, targets, []), set(), Split(rare_class_minimum=0.01))
    assert (len(rows), len(classes)) == (30560, 21)
    assert sorted(set(range(28)) - set(classes.tolist())) == [8, 9, 10, 15, 17, 20, 27]


@needs_real
@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        (Split(validation=0.2, holdout=0.2), {"train": 0.6, "validation": 0.2, "holdout": 0.2}),
        (Split(validation=0.2), {"train": 0.8, "validation": 0.2}),
        (Split(folds=5), {"train": 0.8, "validation": 0.2}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_real_classes_keep_their_share(settings, shares, seed):
    ids, targets = kaggle.read_labels(REAL / "kaggle_labels")
    truth_NC = target_matrix(targets)
    split = splits.make_split(ids, truth_NC, Split(**{**vars(settings), "seed": seed}))
    assert worst_deviation(truth_NC, split, shares) < 1
