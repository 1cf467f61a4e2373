"""Every class keeps its share in every subset and fold, and the same seed gives the same bytes."""

import hashlib

import numpy as np
import pytest
from iterstrat.ml_stratifiers import IterativeStratification

from lib import files
from lib.data import kaggle, splits
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.labels import CLASSES, parse_target, target_matrix
from lib.sections import Split
from lib.settings import MAX_SEED
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


def ids_of(truth_NC):
    return [f"s{row}" for row in range(len(truth_NC))]


def split_of(truth_NC, **settings):
    return splits.make_split(ids_of(truth_NC), truth_NC, Split(**settings))


def test_the_largest_seed_splits_into_folds():
    truth_NC = random_truth(60)
    split = split_of(truth_NC, folds=2, seed=MAX_SEED)
    assert sorted(split["fold"].unique()) == [0, 1]


def worst_excess(truth_NC, name_N, shares):
    """Return the largest error of a count, in units of what is allowed: one sample or 5 %."""
    worst = 0.0
    for name, share in shares.items():
        expected_C = truth_NC.sum(axis=0) * share
        observed_C = truth_NC[(name_N == name).to_numpy()].sum(axis=0)
        worst = max(worst, (np.abs(observed_C - expected_C) / np.maximum(1, 0.05 * expected_C)).max())
    return worst


def stratify(truth_NC, ratios, seed):
    """Return the number of the part that each sample is assigned, as published: shuffle, then stratify."""
    random = np.random.RandomState(seed)
    order = random.permutation(len(truth_NC))
    numbers = np.empty(len(truth_NC), dtype=int)
    numbers[order] = IterativeStratification(truth_NC[order], np.array(ratios) / np.sum(ratios), random)
    return numbers


@pytest.mark.parametrize(
    ("settings", "digest"),
    [
        (dict(), "864ffaf57010"),
        (dict(validation=0.2, holdout=0.2), "ff996e37968d"),
        (dict(validation=0.1, holdout=0.1, seed=3), "2fcd17d9d26a"),
        (dict(folds=2), "9490dffb2e0a"),
        (dict(folds=4, holdout=0.2, seed=7), "430d2224e42b"),
    ],
)
def test_the_bytes_of_a_split_never_change(settings, digest):
    truth_NC = target_matrix([(row % 5, 5 + row % 3) if row % 2 else (row % 7,) for row in range(60)])
    csv = split_of(truth_NC, **settings).to_csv(index=False)
    assert hashlib.sha1(csv.encode()).hexdigest()[:12] == digest


@pytest.mark.parametrize("seed", [0, 3])
def test_a_single_split_is_one_draw(seed):
    truth_NC = random_truth(200)
    split = split_of(truth_NC, validation=0.2, holdout=0.1, seed=seed)
    numbers = stratify(truth_NC, [1 - 0.2 - 0.1, 0.2, 0.1], seed)
    assert split["subset"].tolist() == np.array(["train", "validation", "holdout"])[numbers].tolist()
    assert set(split["fold"]) == {-1}


@pytest.mark.parametrize("holdout", [0.0, 0.2])
def test_folds_are_drawn_from_what_the_holdout_leaves(holdout):
    truth_NC = random_truth(200)
    split = split_of(truth_NC, folds=3, holdout=holdout, seed=5)
    subset_N = np.zeros(200, int) if holdout == 0 else stratify(truth_NC, [1 - holdout, holdout], 5)
    assert split["subset"].tolist() == np.array(["train", "holdout"])[subset_N].tolist()
    rest = subset_N == 0
    assert split["fold"][rest].tolist() == stratify(truth_NC[rest], [1, 1, 1], 6).tolist()


def test_every_class_keeps_its_share():
    truth_NC = random_truth()
    split = split_of(truth_NC, validation=0.2, holdout=0.2)
    assert list(split["id"]) == ids_of(truth_NC)
    shares = {"train": 0.6, "validation": 0.2, "holdout": 0.2}
    assert worst_excess(truth_NC, split["subset"], shares) < 1.5
    assert set(split["subset"]) == set(shares)


def test_every_sample_is_in_one_fold_or_the_holdout():
    truth_NC = random_truth()
    split = split_of(truth_NC, folds=4, holdout=0.1)
    assert list(split["id"]) == ids_of(truth_NC)
    assert set(split["subset"]) == {"train", "holdout"}
    assert set(split.loc[split["subset"] == "holdout", "fold"]) == {-1}
    assert set(split.loc[split["subset"] == "train", "fold"]) == {0, 1, 2, 3}
    assert worst_excess(truth_NC, split["subset"], {"holdout": 0.1}) < 1.5
    assert worst_excess(truth_NC, split["fold"], dict.fromkeys(range(4), 0.9 / 4)) < 1.5


def test_without_a_holdout_every_sample_is_in_a_fold():
    truth_NC = random_truth(100)
    split = split_of(truth_NC, folds=5)
    assert set(split["subset"]) == {"train"} and set(split["fold"]) == set(range(5))


@pytest.mark.parametrize("folds", [1, 3])
def test_the_seed_alone_decides(folds):
    truth_NC = random_truth(300)
    first, again, other = (split_of(truth_NC, folds=folds, seed=seed) for seed in (3, 3, 4))
    assert first.equals(again) and not first.equals(other)


def test_the_share_of_the_validation_subset_is_unused_with_folds():
    truth_NC = random_truth(100)
    assert split_of(truth_NC, folds=3).equals(split_of(truth_NC, folds=3, validation=0.7))


@pytest.mark.parametrize(
    ("samples", "settings", "empty"),
    [
        (0, dict(), "train"),
        (1, dict(), "the validation subset"),
        (3, dict(holdout=0.2), "the validation subset"),
        (0, dict(folds=3), "train"),
        (2, dict(folds=3), "fold"),
        (1, dict(folds=3, holdout=0.2), "the holdout subset"),
        (3, dict(folds=3, holdout=0.2), "fold 2"),
    ],
)
def test_too_few_samples_are_rejected(samples, settings, empty):
    truth_NC = np.zeros((samples, 28), bool)
    truth_NC[:, 0] = True
    with pytest.raises(UserError) as error:
        split_of(truth_NC, **settings)
    assert f"{samples} samples are too few" in str(error.value) and empty in str(error.value)
    assert "split.folds" in str(error.value) and "\n" not in str(error.value)


def test_as_many_folds_as_samples_is_the_limit():
    truth_NC = target_matrix([(0,), (0,), (0,)])
    assert sorted(split_of(truth_NC, folds=3)["fold"]) == [0, 1, 2]


def test_counts_are_of_the_subsets_that_exist():
    truth_NC = random_truth(200)
    for settings, subsets in (
        (dict(), ["train", "validation"]),
        (dict(holdout=0.2), ["train", "validation", "holdout"]),
        (dict(folds=3, holdout=0.2), ["train", "holdout"]),
        (dict(folds=3), ["train"]),
    ):
        split = split_of(truth_NC, **settings)
        counts = splits.count_classes(truth_NC, split)
        assert list(counts.columns) == subsets and list(counts.index) == list(CLASSES)
        assert (counts.sum(axis=1).to_numpy() == truth_NC.sum(axis=0)).all()
        in_train_N = (split["subset"] == "train").to_numpy()
        assert counts.loc["Cytosol", "train"] == truth_NC[in_train_N, 25].sum()


def test_rare_class_filter_by_hand():
    # class 2 is in one of five samples, below 0.3: its sample goes, although it carries class 0 too
    targets = [(0,), (0, 1), (1,), (0, 2), (1,)]
    truth_NC = target_matrix(targets)
    classes = splits.frequent_classes(truth_NC, 0.3)
    assert classes.tolist() == [0, 1]
    assert splits.without_rare(truth_NC, classes).tolist() == [True, True, True, False, True]
    selected, rows = splits.select_samples(
        SampleIndex(list("abcde"), targets, []), {"b"}, Split(rare_class_minimum=0.3)
    )
    assert selected.tolist() == [0, 1] and rows.tolist() == [0, 2, 4]
    with pytest.raises(
        UserError, match=r"rare_class_minimum=0\.5 .*no sample.* 0\.333 \(Nucleoplasm\).*below"
    ):
        three = SampleIndex(list("abc"), [(0,), (1,), (2,)], [])
        splits.select_samples(three, set(), Split(rare_class_minimum=0.5))
    assert splits.frequent_classes(truth_NC, 0.0).tolist() == list(range(28))
    assert splits.frequent_classes(truth_NC, 0.2).tolist() == [0, 1, 2], "the minimum itself is kept"


def test_diverse_rows_show_new_classes_first():
    truth_NC = target_matrix([(0,), (0,), (0, 1), (2,), (0,)])
    assert splits.diverse_rows(truth_NC, 3) == [0, 2, 3]
    assert splits.diverse_rows(truth_NC, 9) == [0, 2, 3, 1, 4]


@needs_real
def test_real_labels_are_filtered_as_hoogenboom_did():
    ids, targets = kaggle.read_labels(REAL / "kaggle_labels")
    assert target_matrix(targets).sum(axis=0).tolist() == list(KAGGLE_COUNTS)
    classes, rows = splits.select_samples(
        SampleIndex(ids, targets, []), set(), Split(rare_class_minimum=0.01)
    )
    assert (len(rows), len(classes)) == (30560, 21)
    assert sorted(set(range(28)) - set(classes.tolist())) == [8, 9, 10, 15, 17, 20, 27]


@needs_real
@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        (dict(validation=0.2, holdout=0.2), {"train": 0.6, "validation": 0.2, "holdout": 0.2}),
        (dict(validation=0.2), {"train": 0.8, "validation": 0.2}),
        (dict(folds=5), dict.fromkeys(range(5), 0.2)),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_real_classes_keep_their_share(settings, shares, seed):
    _, targets = kaggle.read_labels(REAL / "kaggle_labels")
    truth_NC = target_matrix(targets)
    split = split_of(truth_NC, seed=seed, **settings)
    assert worst_excess(truth_NC, split["fold" if "folds" in settings else "subset"], shares) < 1


def random_groups(random):
    """Groups with random sizes and unions of labels; rare classes have one, two or three groups."""
    classes, groups = random.integers(4, 12), random.integers(30, 80)
    truth_GC = random.uniform(size=(groups, classes)) < random.uniform(0.02, 0.4, classes)
    for label in range(3):
        truth_GC[:, label] = np.isin(np.arange(groups), random.permutation(groups)[: label + 1])
    group_N = np.repeat(np.arange(groups), random.integers(1, 7, groups))
    return truth_GC, random.permutation(group_N)


def test_no_group_is_in_two_subsets_and_rare_classes_are_trained_on_first():
    random, misses = np.random.default_rng(0), 0
    for table in range(200):
        truth_GC, group_N = random_groups(random)
        folds = int(random.choice([1, 3]))
        settings = Split(validation=0.2, holdout=0.2, folds=folds, seed=table)
        split = splits.make_split(
            [str(row) for row in range(len(group_N))], truth_GC[group_N], settings, group_N
        )
        split = split.assign(group=group_N)
        siblings = split[split["subset"] == "siblings"]
        others = split.drop(siblings.index)
        assert others.groupby("group")["subset"].nunique().max() == 1
        assert others.groupby("group")["fold"].nunique().max() == 1
        assert set(siblings["group"]) <= set(others.loc[others["subset"] == "train", "group"])
        assert siblings["group"].is_unique and (siblings["fold"] == -1).all()
        assert len(siblings) == pytest.approx(0.03 * len(split), abs=3)
        subset_of = others.groupby("group")["subset"].first()
        names = ["train", "validation", "holdout"] if folds == 1 else ["train", "holdout"]
        for label in np.flatnonzero(truth_GC.any(axis=0)):
            found = set(subset_of[truth_GC[:, label]])
            misses += not set(names[: truth_GC[:, label].sum()]) <= found
            assert "train" in found
    assert misses <= 4, "only where moving a group would take another class's place"


def test_a_group_split_without_groups_is_that_of_samples():
    truth_NC = random_truth(300)
    by_group, by_sample = (split_of(truth_NC, holdout=0.1, by=by) for by in ("group", "sample"))
    assert by_group.equals(by_sample) and "siblings" not in set(by_group["subset"])
    group_N = np.arange(300) // 3
    same = splits.make_split(ids_of(truth_NC), truth_NC, Split(holdout=0.1, by="sample"), group_N)
    assert same.equals(by_sample)


def test_a_random_split_has_its_shares_and_depends_on_the_seed():
    truth_NC = random_truth(500)
    first, again, other = (
        split_of(truth_NC, method="random", validation=0.2, holdout=0.2, seed=seed) for seed in (0, 0, 1)
    )
    assert first.equals(again) and not first.equals(other)
    assert first["subset"].value_counts().to_dict() == {"train": 300, "validation": 100, "holdout": 100}
    folds = split_of(truth_NC, method="random", folds=5)
    assert folds["fold"].value_counts().to_dict() == dict.fromkeys(range(5), 100)


@needs_real
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_antibodies_of_the_real_external_table_are_split_in_proportion(seed):
    ids, targets = external_labels()
    truth_NC, group_N = (
        target_matrix(targets),
        np.unique([i.split("_")[0] for i in ids], return_inverse=True)[1],
    )
    split = splits.make_split(
        ids, truth_NC, Split(validation=0.2, holdout=0.2, siblings=0, seed=seed), group_N
    )
    antibodies_GC = np.zeros((group_N.max() + 1, 28), bool)
    np.logical_or.at(antibodies_GC, group_N, truth_NC)
    assert len(antibodies_GC) == 12_815
    many_C = antibodies_GC.sum(axis=0) > 100
    for subset in ("validation", "holdout"):
        is_in_N = (split["subset"] == subset).to_numpy()
        is_in_G = np.bincount(group_N[is_in_N], minlength=len(antibodies_GC)) > 0
        by_antibody_C = antibodies_GC[is_in_G].sum(axis=0) / antibodies_GC.sum(axis=0)
        by_sample_C = truth_NC[is_in_N].sum(axis=0) / truth_NC.sum(axis=0)
        assert np.abs(by_antibody_C[many_C] - 0.2).max() <= 0.005
        assert np.abs(by_sample_C[many_C] - 0.2).max() <= 0.02
    assert not set(group_N[split["subset"] == "train"]) & set(group_N[split["subset"] == "holdout"])


def external_labels():
    """Return ids and class numbers of the atlas's own table."""
    table = files.read_table(REAL / "kaggle_labels" / "HPAv18RBGY_wodpl.csv", "expected Id,Target")
    return table["Id"].tolist(), [parse_target(text) for text in table["Target"]]
