import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from lib.labels import CLASSES
from lib.simulation.antibodies import (
    PUBLIC_FRACTION,
    SHEET_FORMING_LINES,
    describe_antibody,
    is_public,
    label_sets,
    plan_samples,
    sample_id,
)
from lib.simulation.cells import CELL_LINES


def test_label_sets_are_kaggles():
    sets, frequencies = label_sets()
    assert len(set(sets)) == len(sets) and frequencies.sum() == pytest.approx(1)
    # counts of train.csv: 31,072 samples, 12,885 of them with Nucleoplasm, 11 with Rods & rings
    for label, count in ((0, 12885), (27, 11)):
        total = sum(f for labels, f in zip(sets, frequencies, strict=True) if label in labels)
        assert total * 31072 == pytest.approx(count)


def test_class_imbalance_is_real_and_no_class_is_missing():
    samples = plan_samples(3000, 1000, 0)
    for split, minimum in (("train", 5), ("test", 1)):
        count = Counter(label for s in samples if s.split == split for label in s.labels)
        assert min(count[label] for label in range(28)) >= minimum
    sets, frequencies = label_sets()
    train = Counter(label for s in samples if s.split == "train" for label in s.labels)
    for label in (0, 25, 21, 2):
        real = sum(f for labels, f in zip(sets, frequencies, strict=True) if label in labels)
        assert train[label] / 3000 == pytest.approx(real, rel=0.25)
    assert train[0] > 50 * train[CLASSES.index("Rods & rings")]


def test_every_class_is_in_both_splits_from_500_samples_on():
    samples = plan_samples(400, 100, 5)
    for split in ("train", "test"):
        assert {label for s in samples if s.split == split for label in s.labels} == set(range(28))
    assert len({s.id for s in samples}) == 500
    assert Counter(s.split for s in samples) == {"train": 400, "test": 100}


def test_the_plan_depends_on_the_seed_alone():
    assert plan_samples(30, 10, 1) == plan_samples(30, 10, 1) != plan_samples(30, 10, 2)


def test_antibodies_have_fields_in_train_and_test():
    samples = plan_samples(1500, 500, 1)
    by_antibody = defaultdict(list)
    for sample in samples:
        by_antibody[sample.antibody].append(sample)
    assert all(1 <= len(fields) <= 6 for fields in by_antibody.values())
    assert all(len({s.labels for s in fields}) == 1 for fields in by_antibody.values())
    assert all(s.line == s.scene // 2 and s.line <= 2 for s in samples)
    in_both = [a for a, fields in by_antibody.items() if len({s.split for s in fields}) == 2]
    assert 0.2 < len(in_both) / len(by_antibody) < 0.7
    scenes = Counter((s.antibody, s.scene) for s in samples)
    assert (
        0.03 < sum(count - 1 for count in scenes.values()) / len(samples) < 0.12
    )  # 15 % of every other field


def test_an_antibody_is_the_same_in_all_of_its_fields():
    one, same, other = (describe_antibody((0, 5), 4, number) for number in (11, 11, 12))
    assert one.lines == same.lines and np.array_equal(one.styles, same.styles)
    assert not np.array_equal(one.styles, other.styles)
    assert set(one.lines) <= set(CELL_LINES)
    assert one.weights.shape == (2,) and one.styles.shape == (2, 4) and one.weights.max() == 1


def test_cell_junctions_are_shown_by_cells_that_grow_in_sheets():
    label = CLASSES.index("Cell junctions")
    lines = {line for number in range(30) for line in describe_antibody((label,), 0, number).lines}
    assert lines == set(SHEET_FORMING_LINES)


def test_about_29_percent_of_the_samples_are_public():
    samples = plan_samples(0, 2000, 3)
    assert np.mean([is_public(s, 3) for s in samples]) == pytest.approx(PUBLIC_FRACTION, abs=0.03)


def test_ids_have_kaggles_format():
    ids = [sample_id(2018, number) for number in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-11e8-b[0-9a-f]{3}-51d0ce115000", name) for name in ids)
