import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from lib.labels import CLASSES
from lib.simulation.antibodies import (
    PUBLIC_FRACTION,
    PlannedSample,
    camera_frequencies,
    is_public,
    label_sets,
    plan_samples,
    sample_id,
)

ONLY_SMALL = (8, 9, 10, 20, 24)  # classes without a large image in Kaggle's train.csv


def by_split(samples: list[PlannedSample]) -> tuple[list[PlannedSample], list[PlannedSample]]:
    return tuple([s for s in samples if s.split == split] for split in ("train", "test"))


def large_fraction(samples: list[PlannedSample]) -> float:
    return float(np.mean([s.camera == "large" for s in samples]))


def unseen_antibodies(samples: list[PlannedSample]) -> tuple[set[int], set[int]]:
    """Return the antibodies of the test samples, and those of them that train lacks."""
    train, test = ({s.antibody for s in part} for part in by_split(samples))
    return test, test - train


@pytest.fixture(scope="module")
def plan() -> list[PlannedSample]:
    """As many samples as the demo has."""
    return plan_samples(3000, 1000, 0)


def test_label_sets_are_kaggles():
    sets, frequencies = label_sets()
    assert len(set(sets)) == len(sets) and frequencies.sum() == pytest.approx(1)
    # counts of train.csv: 31,072 samples, 12,885 of them with Nucleoplasm, 11 with Rods & rings
    for label, count in ((0, 12885), (27, 11)):
        total = sum(f for labels, f in zip(sets, frequencies, strict=True) if label in labels)
        assert total * 31072 == pytest.approx(count)


def test_label_sets_of_each_camera_are_kaggles():
    sets, frequencies = label_sets()
    small, large = (camera_frequencies()[name] for name in ("small", "large"))
    assert small.sum() == pytest.approx(1) and large.sum() == pytest.approx(1)
    assert frequencies * 31072 == pytest.approx(small * 24286 + large * 6786)
    for label, share in ((0, 0.245), (15, 0.714), (17, 0.590), *((label, 0) for label in ONLY_SMALL)):
        contains = np.array([label in labels for labels in sets])
        count = large[contains].sum() * 6786
        assert count / (frequencies[contains].sum() * 31072) == pytest.approx(share, abs=0.001)


def test_class_imbalance_is_real_and_no_class_is_missing(plan):
    train, test = (Counter(label for s in part for label in s.labels) for part in by_split(plan))
    assert min(train[label] for label in range(28)) >= 5 and min(test[label] for label in range(28)) >= 1
    sets, frequencies = label_sets()
    for label in (0, 25, 21, 2):
        real = sum(f for labels, f in zip(sets, frequencies, strict=True) if label in labels)
        assert train[label] / 3000 == pytest.approx(real, rel=0.15)
    assert train[0] > 50 * train[CLASSES.index("Rods & rings")]


def test_every_class_has_an_antibody_for_each_subset(plan):
    antibodies = {(s.antibody, label) for s in by_split(plan)[0] for label in s.labels}
    assert min(Counter(label for _, label in antibodies).values()) >= 3


def test_every_class_is_in_both_splits_from_500_samples_on():
    samples = plan_samples(400, 100, 5)
    for split in ("train", "test"):
        assert {label for s in samples if s.split == split for label in s.labels} == set(range(28))
    assert len({s.id for s in samples}) == 500
    assert Counter(s.split for s in samples) == {"train": 400, "test": 100}


def test_the_plan_depends_on_the_seed_alone():
    assert plan_samples(30, 10, 1) == plan_samples(30, 10, 1) != plan_samples(30, 10, 2)


def test_antibodies_have_one_label_set_one_camera_and_1_to_6_fields():
    samples = plan_samples(1500, 500, 1)
    by_antibody = defaultdict(list)
    for sample in samples:
        by_antibody[sample.antibody].append(sample)
    assert all(1 <= len(fields) <= 6 for fields in by_antibody.values())
    assert all(len({(s.labels, s.camera) for s in fields}) == 1 for fields in by_antibody.values())
    assert all(s.line == s.scene // 2 and s.line <= 2 for s in samples)
    scenes = Counter((s.antibody, s.scene) for s in samples)
    assert (
        0.03 < sum(count - 1 for count in scenes.values()) / len(samples) < 0.12
    )  # 15 % of every other field
    splits = defaultdict(set)
    for sample in samples:
        splits[sample.antibody, sample.scene].add(sample.split)
    assert any(len(found) == 2 for found in splits.values())  # near-duplicates across train and test


@pytest.mark.parametrize(
    ("sizes", "unseen"),
    [((3000, 1000), 0.2), ((3000, 1000), 0.5), ((3000, 6000), 0.5), ((400, 100), 0.5), ((3000, 1000), 1.0)],
)
def test_the_given_fraction_of_the_test_antibodies_is_not_in_train(sizes, unseen):
    samples = plan_samples(*sizes, 3, unseen)
    tested, missing = unseen_antibodies(samples)
    assert len(missing) / len(tested) == pytest.approx(unseen, abs=0.02)
    assert [len(part) for part in by_split(samples)] == list(sizes)
    assert len({s.id for s in samples}) == sum(sizes)


def test_all_test_antibodies_can_be_in_train():
    assert not unseen_antibodies(plan_samples(3000, 1000, 3, 0.0))[1]


@pytest.mark.parametrize("unseen", [0.0, 0.5, 1.0])
def test_the_large_camera_has_its_share_of_train_and_test(unseen):
    train, test = by_split(plan_samples(3000, 1000, 4, unseen))
    assert large_fraction(train) == pytest.approx(0.218, abs=0.001)
    assert large_fraction(test) == pytest.approx(0.512, abs=0.001)


def test_the_test_samples_of_antibodies_in_train_have_the_cameras_of_train(plan):
    _, missing = unseen_antibodies(plan)
    test = by_split(plan)[1]
    assert large_fraction([s for s in test if s.antibody not in missing]) == pytest.approx(0.218, abs=0.01)
    assert large_fraction([s for s in test if s.antibody in missing]) > 0.55


def test_five_classes_are_never_large_and_two_mostly():
    for sizes in ((400, 100), (3000, 1000)):
        large = Counter(
            label for s in plan_samples(*sizes, 2018) if s.camera == "large" for label in s.labels
        )
        assert not any(large[label] for label in ONLY_SMALL)
    train, _ = by_split(plan_samples(20_000, 0, 1))
    for label, share in ((17, 0.59), (15, 0.71), (0, 0.245), (22, 0.064)):
        assert large_fraction([s for s in train if label in s.labels]) == pytest.approx(share, abs=0.12)


def test_about_29_percent_of_the_samples_are_public():
    samples = plan_samples(0, 2000, 3)
    assert np.mean([is_public(s, 3) for s in samples]) == pytest.approx(PUBLIC_FRACTION, abs=0.03)


def test_ids_have_kaggles_format():
    ids = [sample_id(2018, number) for number in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-11e8-b[0-9a-f]{3}-51d0ce115000", name) for name in ids)
