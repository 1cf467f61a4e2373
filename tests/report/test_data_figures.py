"""The figures of stage 00 show the samples of the run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib.data.sample_index import SampleIndex
from lib.figures.data_and_training import label_names
from lib.labels import CLASSES
from lib.report import data_figures
from lib.simulation import dataset

TARGETS = [(0,), (0,), (1, 5), (27,), (0, 25), (2,), (3,), (4,), (6,)]
INDEX = SampleIndex([f"s{row}" for row in range(len(TARGETS))], TARGETS, [])
ROWS = np.array([1, 2, 3, 4, 5, 6, 7, 8])  # s0 is left out
SPLIT = pd.DataFrame(
    {"id": [f"s{row}" for row in ROWS], "subset": ["train"] * 5 + ["validation"] * 3, "fold": -1}
)


class Array:
    """An array whose images are their row numbers."""

    def __init__(self, size):
        self.size = size

    def __getitem__(self, row):
        return np.full((self.size, self.size, 4), row, np.uint8)


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn: arguments by the name of the figure's function."""
    calls = {}
    for name in ("class_counts", "labels_per_sample", "contact_sheet", "class_gallery"):

        def note(path, *arguments, name=name):
            calls[name] = (path, *arguments)

        monkeypatch.setattr(data_figures.figures, name, note)
    return calls


def run_of(generates_data):
    return SimpleNamespace(
        figure=lambda name: f"{name}.png",
        data_name="simulated cells",
        generates_data=generates_data,
        config=SimpleNamespace(simulation=SimpleNamespace(seed=7)),
    )


def test_all_labelled_samples_are_counted_by_subset_and_those_left_out_apart(drawn):
    data_figures.draw(run_of(False), INDEX, ROWS, SPLIT, {})
    path, counts, title = drawn["class_counts"]
    assert (path, title) == ("class_counts.png", "simulated cells")
    assert counts.loc[CLASSES[0]].to_dict() == {"train": 2, "validation": 0, "left out": 1}
    assert counts.loc[CLASSES[3]].to_dict() == {"train": 0, "validation": 1, "left out": 0}
    path, truth_NC, _ = drawn["labels_per_sample"]
    assert path == "labels_per_sample.png" and np.array_equal(truth_NC, INDEX.truth_NC)


def test_samples_of_different_classes_are_shown_at_the_largest_size(drawn):
    data_figures.draw(run_of(False), INDEX, ROWS, SPLIT, {32: Array(32), 64: Array(64)})
    path, images, names, _ = drawn["contact_sheet"]
    assert path == "samples.png" and len(images) == data_figures.SHOWN_SAMPLES
    rows = [int(image_HWK[0, 0, 0]) for image_HWK in images]
    assert all(image_HWK.shape == (64, 64, 4) for image_HWK in images)
    assert names == [label_names(INDEX.truth_NC[row]) for row in rows]
    assert rows[0] == 1 and set(rows) <= set(ROWS.tolist()) and len(set(rows)) == len(rows)
    shown = set().union(*(TARGETS[row] for row in rows))
    assert len(shown) >= data_figures.SHOWN_SAMPLES


def test_without_images_there_are_no_samples(drawn):
    data_figures.draw(run_of(False), INDEX, ROWS, SPLIT, {})
    assert set(drawn) == {"class_counts", "labels_per_sample"}


def test_a_run_on_its_own_simulation_shows_every_class(drawn, monkeypatch):
    monkeypatch.setattr(dataset, "class_gallery", lambda size, seed: [("Nucleoplasm", size, seed)])
    data_figures.draw(run_of(True), INDEX, ROWS, SPLIT, {})
    path, examples, title = drawn["class_gallery"]
    assert path == "classes.png" and examples == [("Nucleoplasm", data_figures.GALLERY_SIZE, 7)]
    assert "Simulated cells" in title
