import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lib.figures import data_and_training
from lib.figures.colors import brightened, in_color, merged
from lib.labels import CLASSES, FEATURES, target_matrix
from tests.conftest import ROOT


def texts(items):
    return [item.get_text() for item in items]


def lines_by_label(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def image(seed, size=20):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 4), dtype=np.uint8)


def test_a_figure_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError), data_and_training.canvas(tmp_path / "a.png", size=(1, 1)):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_notebooks_backend_is_replaced(tmp_path):
    code = f"""import sys
from pathlib import Path
from lib.figures import data_and_training, scores, thumbnails
with data_and_training.canvas(Path({str(tmp_path / "a.png")!r}), size=(1, 1)):
    assert "matplotlib.pyplot" not in sys.modules  # which may show figures in a notebook"""
    variables = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=variables, check=True)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_class_counts_have_bars_of_all_samples_and_the_counts_of_each_subset(draw):
    counts = pd.DataFrame(
        {"train": [30, 0, 200], "validation": [12, 0, 50], "holdout": [0, 0, 0]},
        index=["Nucleoli", "Aggresome", "Cytosol"],
    )
    (axes,) = draw(data_and_training.class_counts, counts, "toy").axes
    assert texts(axes.get_yticklabels()) == ["Aggresome", "Nucleoli", "Cytosol"]  # from bottom to top
    assert [bar.get_x() + bar.get_width() for bar in axes.patches[1:]] == pytest.approx([42, 250])
    assert axes.patches[0].get_width() == 0
    assert texts(axes.texts) == ["none", "42  (30 + 12)", "250  (200 + 50)"]
    assert axes.get_xlabel().endswith("train + validation") and axes.get_xscale() == "log"
    assert "toy" in axes.get_title(loc="left")


def test_labels_per_sample_are_counted(draw):
    truth_NC = target_matrix([(0,), (1,), (0, 1, 2), (5,)])
    (axes,) = draw(data_and_training.labels_per_sample, truth_NC, "toy").axes
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axes.patches] == [
        (1, 3), (2, 0), (3, 1),
    ]  # fmt: skip
    assert texts(axes.texts) == ["3\n75.0%", "0\n0.0%", "1\n25.0%"]


def test_a_contact_sheet_has_the_merged_sample_and_each_channel_in_its_colour(draw):
    images = [image(0), image(1)]
    figure = draw(data_and_training.contact_sheet, images, ["Cytosol", "Nucleoli\nCytosol"], "toy")
    rows = np.reshape(figure.axes, (2, 5))
    for row, image_HWK in zip(rows, map(brightened, images), strict=True):
        shown = [axis.get_images()[0].get_array() for axis in row]
        wanted = [merged(image_HWK), *(in_color(image_HWK, channel) for channel in range(4))]
        assert all(np.array_equal(*pair) for pair in zip(shown, wanted, strict=True))
    assert [axis.get_title(loc="left") for axis in rows[:, 0]] == ["Cytosol", "Nucleoli\nCytosol"]
    assert [axis.get_title() for axis in rows[0, 1:]] == [
        "microtubules", "protein", "nucleus", "endoplasmic reticulum",
    ]  # fmt: skip


def test_a_gallery_has_every_class_merged_and_its_protein_alone(draw):
    examples = [(name, image(number)) for number, name in enumerate(CLASSES[:5])]
    figure = draw(data_and_training.class_gallery, examples, "toy")
    assert [axis.get_title(loc="left") for axis in figure.axes] == [*CLASSES[:5], "", "", ""]
    for axis, (_, image_HWK) in zip(figure.axes[:5], examples, strict=True):
        shown, bright_HWK = axis.get_images()[0].get_array(), brightened(image_HWK)
        assert np.array_equal(shown[:, :20], merged(bright_HWK))
        assert np.array_equal(shown[:, -20:], in_color(bright_HWK, 1))


def test_training_and_validation_curves_are_labelled_as_what_they_are(draw):
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "train_loss": [0.5, 0.3, 0.2],
            "validation_loss": [0.6, 0.4, 0.35],
            "train_macro_f1": [0.1, 0.4, 0.6],
            "validation_macro_f1": [0.05, 0.3, 0.35],
            "learning_rate": [1e-3, 5e-4, 1e-5],
        }
    )
    figure = draw(data_and_training.training_curves, history, "focal", "toy")
    loss, f1, rate = figure.axes
    for axes, name in ((loss, "loss"), (f1, "macro_f1")):
        lines = lines_by_label(axes)
        assert set(lines) == {"training", "validation"} == set(texts(axes.get_legend().get_texts()))
        assert lines["training"].get_ydata().tolist() == history[f"train_{name}"].tolist()
        assert lines["validation"].get_ydata().tolist() == history[f"validation_{name}"].tolist()
        assert lines["training"].get_xdata().tolist() == [1, 2, 3]
    assert loss.get_ylabel() == "focal loss"
    assert "threshold 0.5" in f1.get_title(loc="left") and f1.get_ylabel() == "macro-F1"
    assert rate.get_lines()[0].get_ydata().tolist() == [1e-3, 5e-4, 1e-5]


def test_a_single_epoch_has_one_tick_and_its_values_are_within_the_axes(draw):
    row = {"epoch": 1, "train_loss": 0.57, "validation_loss": 0.54, "learning_rate": 1e-3}
    history = pd.DataFrame([row | {"train_macro_f1": 0.0, "validation_macro_f1": 0.0}])
    loss, f1, _ = draw(data_and_training.training_curves, history, "bce", "toy").axes
    low, high = loss.get_xlim()
    assert [tick for tick in loss.get_xticks() if low <= tick <= high] == [1]
    assert loss.get_ylim()[0] == 0 and loss.get_ylim()[1] > 0.59
    assert f1.get_ylim()[0] == 0


def test_the_learning_rate_curve_marks_where_it_rises_and_what_is_suggested(draw):
    curve = pd.DataFrame(
        {"learning_rate": [1e-4, 1e-3, 1e-2], "loss": [0.9, 0.4, 2.0], "smoothed": [0.8, 0.5, 1.5]}
    )
    (axes,) = draw(data_and_training.learning_rates, curve, 8e-3, 8e-4, "toy").axes
    lines = lines_by_label(axes)
    assert lines["each step"].get_ydata().tolist() == curve["loss"].tolist()
    assert lines["running mean"].get_ydata().tolist() == curve["smoothed"].tolist()
    assert lines["running mean"].get_xdata().tolist() == curve["learning_rate"].tolist()
    assert lines["loss starts to rise: 8.0e-03"].get_xdata() == [8e-3, 8e-3]
    assert lines["suggested: 8.0e-04"].get_xdata() == [8e-4, 8e-4]


def test_features_by_class_have_a_cell_for_each_pair_classes_by_group(draw):
    truth_NC = target_matrix([(0, 25), (25,), (21,)])  # Nucleus, Cytoplasm, Secretory
    by_class = pd.DataFrame(
        {"eccentricity": [0.25, 0.5, np.nan], "own": [0.9, 0.05, 0.61]},
        index=["Plasma membrane", "Nucleoplasm", "Cytosol"],
    )
    axes, bar = draw(data_and_training.features_by_class, by_class, truth_NC, "toy").axes
    assert texts(axes.get_yticklabels()) == ["Nucleoplasm  (1)", "Cytosol  (2)", "Plasma membrane  (1)"]
    assert texts(axes.get_xticklabels()) == [FEATURES["eccentricity"], "own"]
    np.testing.assert_array_equal(
        axes.get_images()[0].get_array().filled(np.nan), [[0.5, 0.05], [np.nan, 0.61], [0.25, 0.9]]
    )
    written = {text.get_position(): text.get_text() for text in axes.texts}
    cells = {(0, 0): ".50", (1, 0): ".05", (1, 1): ".61", (0, 2): ".25", (1, 2): ".90"}
    groups = {(1.01, 0): "Nucleus", (1.01, 1): "Cytoplasm", (1.01, 2): "Secretory"}
    assert written == cells | groups
    assert "ROC" in bar.get_ylabel()


def test_features_by_group_have_a_box_for_each_group_of_its_own_samples(draw):
    # two samples of each group alone, and two of several groups
    truth_NC = target_matrix([(0,), (5, 0), (25,), (11,), (6,), (9, 6), (0, 25), (6, 11)])
    features = pd.DataFrame(
        {
            "protein_area": [1.0, 3, 10, 30, 100, 300, 1000, 3000],
            "own": [10.0, 11, 12, 13, np.nan, 15, np.inf, 17],
            "missing": np.full(8, np.nan),
        }
    )
    figure = draw(data_and_training.features_by_group, features, truth_NC, "toy")
    area, own, missing, *spare = figure.axes
    assert texts(area.get_yticklabels()) == [
        "Nucleus only (2)", "Cytoplasm only (2)", "Secretory only (2)", "several groups (2)",
    ]  # fmt: skip

    def medians(axes):
        return [line.get_xdata()[0] for line in axes.get_lines() if line.get_color() == "white"]

    assert medians(area) == [2, 20, 200, 2000] and area.get_xscale() == "log"
    assert medians(own) == [10.5, 12.5, 15, 17] and own.get_xscale() == "linear"  # of the finite values
    assert texts(missing.texts) == ["not available"]
    assert area.yaxis_inverted(), "the first group is at the top"
    assert len(spare) == 2 and not any(axes.axison for axes in spare)


def test_label_names_are_one_per_line():
    assert data_and_training.label_names(target_matrix([(25, 2)])[0]) == "Nucleoli\nCytosol"
