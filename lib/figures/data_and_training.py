"""Figures of samples, features and training, drawn with matplotlib from the data that is passed in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from lib import files
from lib.figures.colors import brightened, in_color, merged
from lib.labels import CHANNEL_MEANINGS, CHANNELS, CLASSES, FEATURES, LOCATION_GROUPS

BLUE, GREEN, ORANGE, GREY, LIGHT, DARK = "#2f6db3", "#3a8f5c", "#d9822b", "#8a8f98", "#c9ccd1", "#333333"
LOSSES = {
    "bce": "binary cross-entropy",
    "soft_margin": "multi-label soft margin loss",
    "cross_entropy": "cross-entropy",
    "focal": "focal loss",
    "asymmetric": "asymmetric loss",
    "focal_lovasz_log": "focal, Lovász and hard-negative loss",
    "distribution_balanced": "distribution-balanced loss",
}
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "figure.dpi": 120,
}


@contextmanager
def canvas(
    path: Path, *layout: int, size: tuple[float, float], **options: object
) -> Iterator[tuple[Figure, object]]:
    """Yield a figure and its axes; the figure is saved as PNG when the block ends without an error.

    Parameters
    ----------
    path : Path
    layout : int
        Rows and columns of axes; default: one.
    size : tuple of (float, float)
        Width and height in inches.
    options : object
        Of `matplotlib.figure.Figure.subplots`.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")  # without pyplot, which may show it elsewhere
        yield figure, figure.subplots(*layout, **options)
        with files.write_atomic(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def figure_title(figure: Figure, title: str, fontsize: float = 10) -> None:
    """Set the title of a figure with several axes."""
    figure.suptitle(title, fontsize=fontsize, fontweight="bold", x=0.01, ha="left")


def label_cells(axes: Axes, texts: np.ndarray, is_dark: np.ndarray, fontsize: float) -> None:
    """Write texts into the cells of an image, in white where the cell is dark.

    Parameters
    ----------
    texts : ndarray of str, the shape of the image
        An empty text leaves its cell empty.
    is_dark : ndarray of bool, of the same shape
    """
    for (row, column), text in np.ndenumerate(texts):
        if text:
            color = "white" if is_dark[row, column] else DARK
            axes.text(column, row, text, ha="center", va="center", fontsize=fontsize, color=color)


def mark_groups(axes: Axes, rows: dict[str, int], color: str, linewidth: float) -> None:
    """Separate groups of rows by lines, and write the groups' names at the right edge, first group on top.

    Parameters
    ----------
    rows : dict of int
        Number of rows by group; the first row is centred at 0.
    """
    edge = -0.5
    for group, count in rows.items():
        if count and edge > 0:
            axes.axhline(edge, color=color, linewidth=linewidth)
        if count:
            axes.text(
                1.01, edge + count / 2, group, rotation=270, va="center", fontweight="bold",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
        edge += count


def class_counts(path: Path, counts: pd.DataFrame, data: str) -> None:
    """Draw the number of samples per class, by subset, on a log scale (Hoogenboom 2019, figure 2 A).

    Parameters
    ----------
    counts : DataFrame
        One row per class (index: names), one column per subset.
    data : str
        Name of the data, for the title.
    """
    counts = counts.loc[:, counts.sum() > 0]
    total = counts.sum(axis=1).sort_values(kind="stable")
    counts = counts.loc[total.index]
    start = 0.6  # of the bars, as a log scale has no 0
    with canvas(path, size=(7.5, 6.5)) as (_, axes):
        axes.barh(total.index, (total - start).clip(lower=0), color=BLUE, left=start)
        for row, number in enumerate(total):
            by_subset = " + ".join(f"{count:,}" for count in counts.iloc[row])
            axes.annotate(
                f"{number:,}  ({by_subset})" if number else "none", (max(number, start), row), (4, 0),
                textcoords="offset points", va="center", fontsize=7.5, color=DARK,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(start, total.max() * (12 if counts.shape[1] < 4 else 60))  # room for the numbers
        axes.margins(y=0.01)
        axes.set_xlabel(f"samples, log scale; in parentheses: {' + '.join(counts.columns)}")
        axes.set_title(f"Samples per class: {data}")


def labels_per_sample(path: Path, truth_NC: np.ndarray, data: str) -> None:
    """Draw a histogram of the number of labels per sample (Hoogenboom 2019, figure 2 B).

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
    data : str
        Name of the data, for the title.
    """
    counts = np.bincount(truth_NC.sum(axis=1))[1:]
    numbers = np.arange(1, len(counts) + 1)
    with canvas(path, size=(5, 3.2)) as (_, axes):
        bars = axes.bar(numbers, counts, color=BLUE)
        axes.bar_label(
            bars, [f"{count:,}\n{count / counts.sum():.1%}" for count in counts], fontsize=8, padding=2
        )
        axes.set_xticks(numbers)
        axes.margins(y=0.18)
        axes.set_xlabel("labels per sample")
        axes.set_ylabel("samples")
        axes.set_title(f"Labels per sample: {data}")


def contact_sheet(path: Path, images: list[np.ndarray], names: list[str], data: str) -> None:
    """Draw one row per sample: all channels merged, then every channel alone; brightened for display.

    Parameters
    ----------
    images : list of ndarray of shape (H, W, 4), uint8, R G B Y
    names : list of str
        Label names of each sample, as `label_names` returns them.
    data : str
        Name of the data, for the title.
    """
    rows, columns = len(images), 1 + len(CHANNELS)
    size = (1.75 * columns, 1.9 * rows + 0.5)
    with canvas(path, rows, columns, size=size, squeeze=False) as (figure, axes):
        for row, (image_HWK, name) in enumerate(zip(images, names, strict=True)):
            image_HWK = brightened(image_HWK)
            alone = [in_color(image_HWK, channel) for channel in range(len(CHANNELS))]
            for axis, picture in zip(axes[row], [merged(image_HWK), *alone], strict=True):
                axis.imshow(picture, interpolation="nearest" if len(picture) < 200 else "antialiased")
                axis.set_axis_off()
            axes[row, 0].set_title(name, fontsize=8, fontweight="normal")
        for axis, title in zip(axes[0, 1:], CHANNEL_MEANINGS, strict=True):
            axis.set_title(title, fontsize=8, fontweight="normal", loc="center")
        figure_title(figure, f"Samples, brightened for display: {data}")


def class_gallery(path: Path, examples: list[tuple[str, np.ndarray]], title: str) -> None:
    """Draw one example of every class: all channels merged beside the protein alone; brightened for display.

    Parameters
    ----------
    examples : list of (str, ndarray of shape (H, W, 4), uint8, R G B Y)
        Class name and image.
    """
    columns = 4
    rows = -(-len(examples) // columns)
    size = (3.1 * columns, 1.75 * rows + 0.4)
    with canvas(path, rows, columns, size=size, squeeze=False) as (figure, axes):
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, (name, image_HWK) in zip(axes.flat, examples, strict=False):
            image_HWK = brightened(image_HWK)
            gap = np.full((len(image_HWK), len(image_HWK) // 40, 3), 255, np.uint8)
            axis.imshow(np.concatenate([merged(image_HWK), gap, in_color(image_HWK, 1)], axis=1))
            axis.set_title(name, fontsize=9, fontweight="normal")
        figure_title(figure, title, fontsize=11)


def training_curves(path: Path, history: pd.DataFrame, loss: str, title: str) -> None:
    """Draw loss and macro-F1 of training and validation, and the learning rate, over the epochs.

    The macro-F1 panel is that of Liu et al. 2018, figure 6.

    Parameters
    ----------
    history : DataFrame
        One row per epoch: epoch, train_loss, validation_loss, train_macro_f1, validation_macro_f1 (both at a
        threshold of 0.5) and learning_rate, as `lib.learning.fit.fit` returns it.
    loss : str
        One of `LOSSES`.
    """
    panels = {
        "loss": ("Loss", LOSSES.get(loss, loss)),
        "macro_f1": ("Macro-F1 at threshold 0.5", "macro-F1"),
    }
    with canvas(path, 1, 3, size=(10.5, 3.2)) as (figure, axes):
        for axis, (score, (name, label)) in zip(axes, panels.items(), strict=False):
            for subset, color in (("train", BLUE), ("validation", ORANGE)):
                axis.plot(
                    history["epoch"], history[f"{subset}_{score}"], color=color, marker="o", markersize=3,
                    label="training" if subset == "train" else subset,
                )  # fmt: skip
            axis.set_title(name)
            axis.set_ylabel(label)
            axis.legend(frameon=False)
        axes[2].plot(history["epoch"], history["learning_rate"], color=GREY, marker="o", markersize=3)
        axes[2].set_title("Learning rate")
        axes[2].set_ylabel("maximum of the epoch")
        for axis in axes:
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axis.set_ylim(0, 1.05 * axis.dataLim.ymax or None)  # none: all values are 0
        figure_title(figure, title)


def learning_rates(path: Path, curve: pd.DataFrame, rising: float, suggestion: float, title: str) -> None:
    """Draw the loss over the learning rate, and the suggested learning rate.

    Parameters
    ----------
    curve : DataFrame
        One row per step: learning_rate, loss, and smoothed, as `lib.learning.lr_finder.find_rate` returns it.
    rising, suggestion : float
        Learning rate at which the loss starts to rise, and the one suggested for training, as
        `lib.learning.lr_finder.suggest` returns them.
    """
    with canvas(path, size=(6, 3.4)) as (_, axes):
        axes.plot(curve["learning_rate"], curve["loss"], color=LIGHT, linewidth=1, label="each step")
        axes.plot(curve["learning_rate"], curve["smoothed"], color=BLUE, linewidth=2, label="running mean")
        axes.axvline(rising, color=GREY, linestyle=":", label=f"loss starts to rise: {rising:.1e}")
        axes.axvline(suggestion, color=ORANGE, label=f"suggested: {suggestion:.1e}")
        axes.set_xscale("log")
        low, high = curve["smoothed"].min(), curve["smoothed"].iloc[0]
        axes.set_ylim(low - 0.15 * (high - low), high + 0.5 * (high - low))
        axes.set_xlabel("learning rate, log scale")
        axes.set_ylabel("training loss")
        axes.legend(frameon=False, fontsize=8)
        axes.set_title(title)


def features_by_class(path: Path, by_class: pd.DataFrame, truth_NC: np.ndarray, data: str) -> None:
    """Draw how well each feature separates each class from all others, as a heat map, classes by group.

    Parameters
    ----------
    by_class : DataFrame
        One row per class (index: names), one column per feature: area under the ROC curve, as
        `lib.features.class_separation.by_class` returns it.
    truth_NC : ndarray of shape (N, C), bool
    data : str
        Name of the data, for the title.
    """
    blocks = {
        group: [CLASSES[label] for label in labels if CLASSES[label] in by_class.index]
        for group, labels in LOCATION_GROUPS.items()
    }
    order = [name for block in blocks.values() for name in block]
    values = by_class.loc[order].to_numpy()
    texts = np.array([[f"{value:.2f}".lstrip("0") for value in row] for row in values], dtype=object)
    texts[~np.isfinite(values)] = ""
    with canvas(path, size=(2.6 + 0.5 * values.shape[1], 2.2 + 0.25 * len(order))) as (figure, axes):
        picture = axes.imshow(values, cmap="RdBu_r", vmin=0, vmax=1, aspect="auto")
        label_cells(axes, texts, np.abs(values - 0.5) > 0.33, fontsize=7)
        support = dict(zip(CLASSES, truth_NC.sum(axis=0), strict=True))
        axes.set_yticks(range(len(order)), [f"{name}  ({support[name]:,})" for name in order])
        meanings = [FEATURES.get(name, name) for name in by_class]
        axes.set_xticks(range(len(meanings)), meanings, rotation=40, ha="right", rotation_mode="anchor")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        mark_groups(axes, {group: len(block) for group, block in blocks.items()}, "white", linewidth=4)
        axes.set_ylabel("class (in parentheses: samples)")
        figure_title(figure, f"How well each feature alone separates each class from the rest: {data}")
        figure.colorbar(
            picture, ax=axes, shrink=0.6,
            label="area under the ROC curve (0.5: no separation;\n"
            "above: values are larger with the class; below: smaller)",
        )  # fmt: skip


def features_by_group(path: Path, features: pd.DataFrame, truth_NC: np.ndarray, data: str) -> None:
    """Draw each feature's distribution over the samples with labels of one group only, and of several groups.

    Parameters
    ----------
    features : DataFrame
        One row per sample, one column per feature; nan and inf are left out.
    truth_NC : ndarray of shape (N, C), bool
    data : str
        Name of the data, for the title.
    """
    masks = _group_masks(truth_NC)
    names = [f"{name} ({mask_N.sum():,})" for name, mask_N in masks.items()]
    columns = 5
    rows = -(-features.shape[1] // columns)
    size = (2.6 * columns + 1.6, 1.75 * rows + 0.5)
    with canvas(path, rows, columns, size=size, sharey=True, squeeze=False) as (figure, axes):
        for axis in axes.flat[features.shape[1] :]:
            axis.set_axis_off()
        for axis, name in zip(axes.flat, features, strict=False):
            values_N = features[name].to_numpy()
            _group_boxes(axis, [values_N[mask_N & np.isfinite(values_N)] for mask_N in masks.values()])
            axis.set_title(FEATURES.get(name, name), fontsize=8.5, fontweight="normal")
            axis.set_yticks(range(1, len(names) + 1), names)
        axes[0, 0].invert_yaxis()
        figure.supxlabel(
            "box: quartiles and median; whiskers: 5th to 95th percentile; in parentheses: samples", fontsize=9
        )
        figure_title(figure, f"Features by group: {data}")


def _group_masks(truth_NC: np.ndarray) -> dict[str, np.ndarray]:
    """Return which samples have labels of one group only, by group, and which of several."""
    within = {group: truth_NC[:, list(labels)].any(axis=1) for group, labels in LOCATION_GROUPS.items()}
    several_N = sum(mask_N.astype(int) for mask_N in within.values()) > 1
    only = {f"{group} only": mask_N & ~several_N for group, mask_N in within.items()}
    return only | {"several groups": several_N}


def _group_boxes(axis: Axes, samples: list[np.ndarray]) -> None:
    """Draw a box plot of one feature, one box per group, on a log scale if the values span a wide range."""
    boxes = axis.boxplot(
        samples, orientation="horizontal", whis=(5, 95), showfliers=False, widths=0.65,
        patch_artist=True, medianprops={"color": "white", "linewidth": 2},
    )  # fmt: skip
    for box, color in zip(boxes["boxes"], (BLUE, GREEN, ORANGE, GREY), strict=True):
        box.set(facecolor=color, edgecolor=color)
    axis.tick_params(labelsize=7.5)
    if not any(map(len, samples)):
        axis.text(0.5, 0.5, "not available", transform=axis.transAxes, ha="center", color=GREY)
        axis.set_xticks([])
        return
    low, high = np.percentile(np.concatenate(samples), (5, 95))
    if 0 < low < high / 20:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(numticks=5))
        axis.set_xlim(low / 3, high * 3)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter("{x:,.6g}")


def label_names(truth_C: np.ndarray) -> str:
    """Return the names of a sample's labels, one per line."""
    return "\n".join(CLASSES[label] for label in np.flatnonzero(truth_C))
