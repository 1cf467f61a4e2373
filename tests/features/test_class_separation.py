import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from lib.features import class_separation
from lib.labels import CLASSES


def truth(**samples):
    """Labels of four samples: for each class, written c<number>, the samples that have it."""
    truth_NC = np.zeros((4, 28), bool)
    for name, rows in samples.items():
        truth_NC[list(rows), int(name[1:])] = True
    return truth_NC


def test_areas_by_hand():
    features = pd.DataFrame({"x": [1.0, 2.0, 2.0, 3.0]})
    table = class_separation.by_class(features, truth(c0=(3,), c4=(0,), c7=(1, 3)))
    assert list(table.index) == [CLASSES[0], CLASSES[4], CLASSES[7]] and table.index.name == "class"
    # c7: of its pairs (2 > 1), (2 = 2), (3 > 1) and (3 > 2), the tie counts half
    assert table["x"].tolist() == [1.0, 0.0, 3.5 / 4]


def test_undefined_values_are_left_out():
    features = pd.DataFrame({"x": [1.0, np.nan, 2.0, np.inf], "undefined": np.full(4, np.nan)})
    table = class_separation.by_class(features, truth(c0=(2, 3), c1=(1,), c2=(0, 1, 2, 3)))
    assert table.loc[CLASSES[0], "x"] == 1.0
    assert np.isnan(table.loc[CLASSES[1], "x"])  # its only sample has no value
    assert np.isnan(table.loc[CLASSES[2], "x"])  # there is no sample without it
    assert table["undefined"].isna().all()


def test_the_area_is_mann_and_whitneys():
    random = np.random.default_rng(0)
    values_N = random.integers(0, 12, 80).astype(float)  # with ties
    values_N[:5] = np.nan
    values_N[5] = np.inf
    truth_NC = np.zeros((80, 28), bool)
    truth_NC[:, 3] = random.uniform(size=80) < 0.3
    table = class_separation.by_class(pd.DataFrame({"x": values_N}), truth_NC)
    defined_N = ~np.isnan(values_N)
    positive, negative = values_N[defined_N & truth_NC[:, 3]], values_N[defined_N & ~truth_NC[:, 3]]
    expected = mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))
    assert table.loc[CLASSES[3], "x"] == pytest.approx(expected)
