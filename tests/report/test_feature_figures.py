from types import SimpleNamespace

import numpy as np
import pytest

from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.labels import CLASSES
from lib.report import feature_figures
from lib.report.feature_figures import find
from lib.sections import Features

TARGETS = [(0,), (0,), (1, 5), (27,), (25,), (2,)]
INDEX = SampleIndex([f"s{row}" for row in range(len(TARGETS))], TARGETS, ["t0", "t1"])


def test_samples_of_different_classes_are_shown_by_default():
    shown = find(INDEX, None)
    assert [(one.subset, one.row) for one in shown] == [("train", row) for row in (0, 2, 3, 4)]
    assert shown[1].title == f"s2\n{CLASSES[1]}\n{CLASSES[5]}"


def test_samples_of_both_sets_can_be_named():
    shown = find(INDEX, ["t1", "s5"])
    assert [(one.subset, one.row) for one in shown] == [("test", 1), ("train", 5)]
    assert shown[0].title == "t1\ntest set" and shown[1].title == f"s5\n{CLASSES[2]}"


def test_an_unknown_sample_is_an_error_with_a_suggestion():
    with pytest.raises(UserError, match=r"--show 's22'.*did you mean s2\?.*train.csv"):
        find(INDEX, ["s1", "s22"])


def test_they_are_drawn_from_the_array_and_the_settings_of_the_features(monkeypatch):
    calls = {}
    for name in ("protein_in_nuclei", "segments"):
        monkeypatch.setattr(
            feature_figures.segments, name, lambda *arguments, name=name: calls.update({name: arguments})
        )
    arrays = {
        subset: [np.full((8, 8, 4), start + row, np.uint8) for row in range(6)]
        for subset, start in (("train", 0), ("test", 100))
    }
    run = SimpleNamespace(
        figure=lambda name: f"{name}.png",
        data_name="toy",
        config=SimpleNamespace(features=Features(denoise="paper", segmentation="paper_code")),
    )
    feature_figures.draw_segmentation(run, arrays, find(INDEX, ["t1", "s5"]))
    assert set(calls) == {"protein_in_nuclei", "segments"}
    for name, (path, samples, titles, data) in calls.items():
        assert (path, data) == (f"{name}.png", "toy")
        assert [sample.image_HWK[0, 0, 0] for sample in samples] == [101, 5]
        assert {(sample.denoise, sample.segmentation) for sample in samples} == {("paper", "paper_code")}
        assert [title.splitlines()[0] for title in titles] == ["t1", "s5"]
