"""Figures of samples, features and training, drawn with matplotlib from what is handed in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen is needed

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from lib import files
from lib.figures.colors import brightened, in_color, merged
from lib.labels import CHANNEL_MEANINGS, CHANNELS, CLASSES, FEATURES, GROUPS

BLUE, GREEN, ORANGE, GREY = "#2f6db3", "#3a8f5c", "#d9822b", "#8a8f98"
LOSSES = {
    "bce": "binary cross-entropy",
    "soft_margin": "multi-label soft margin loss",
    "cross_entropy": "cross-entropy",
    "focal": "focal loss",
    "asymmetric": "asymmetric loss",
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
    """Give a figure and its axes; saved whole when the block ends."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(*layout, figsize=size, layout="constrained", **options)
        try:
            yield figure, axes
            with files.write_atomic(path) as part:
                figure.savefig(part, format="png", metadata={"Software": None})
        finally:
            plt.close(figure)


def class_counts(path: Path, counts: pd.DataFrame, data: str) -> None:
    """Draw how many samples carry each class, by subset, on a log scale (Hoogenboom 2019, figure 2 A).

    Parameters
    ----------
    counts : DataFrame
        A row a class (index: names), a column a subset.
    data : str
        What data these are, for the title.
    """
    counts = counts.loc[:, counts.sum() > 0]
    total = counts.sum(axis=1)
    counts, total = counts.loc[total.sort_values(kind="stable").index], total.sort_values(kind="stable")
    with canvas(path, size=(7.5, 6.5)) as (_, axes):
        axes.barh(total.index, (total - 0.6).clip(lower=0), color=BLUE, left=0.6)  # a log scale has no 0
        for row, number in enumerate(total):
            parts = " + ".join(f"{count:,}" for count in counts.iloc[row])
            axes.annotate(
                f"{number:,}  ({parts})" if number else "none", (max(number, 0.6), row), (4, 0),
                textcoords="offset points", va="center", fontsize=7.5, color="#333",
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(0.6, total.max() * 12)
        axes.margins(y=0.01)
        axes.set_xlabel(f"samples, log scale; in brackets: {' + '.join(counts.columns)}")
        axes.set_title(f"Samples of each class: {data}")


def labels_per_sample(path: Path, truth_NC: np.ndarray, data: str) -> None:
    """Draw how many labels the samples carry (Hoogenboom 2019, figure 2 B)."""
    counts = np.bincount(truth_NC.sum(axis=1))[1:]
    with canvas(path, size=(5, 3.2)) as (_, axes):
        bars = axes.bar(np.arange(1, len(counts) + 1), counts, color=BLUE)
        axes.bar_label(
            bars, [f"{count:,}\n{count / counts.sum():.1%}" for count in counts], fontsize=8, padding=2
        )
        axes.set_xticks(np.arange(1, len(counts) + 1))
        axes.margins(y=0.18)
        axes.set_xlabel("labels of a sample")
        axes.set_ylabel("samples")
        axes.set_title(f"Labels per sample: {data}")


def contact_sheet(path: Path, images: list[np.ndarray], names: list[str], data: str) -> None:
    """Draw samples, a row each: channels merged, then every channel alone, with the label names.

    Channels are brightened for display.

    Parameters
    ----------
    images : list of ndarray of shape (H, W, 4), uint8, R G B Y
    names : list of str
        Label names of each sample.
    """
    rows, columns = len(images), 1 + len(CHANNELS)
    with canvas(path, rows, columns, size=(1.75 * columns, 1.9 * rows + 0.5), squeeze=False) as (
        figure,
        axes,
    ):
        for row, (image_HWK, name) in enumerate(zip(images, names, strict=True)):
            image_HWK = brightened(image_HWK)
            pictures = [
                merged(image_HWK),
                *(in_color(image_HWK, channel) for channel in range(len(CHANNELS))),
            ]
            for axis, picture in zip(axes[row], pictures, strict=True):
                axis.imshow(picture, interpolation="nearest" if len(picture) < 200 else "antialiased")
                axis.set_axis_off()
            axes[row, 0].set_title(name, fontsize=8, fontweight="normal")
        for axis, title in zip(axes[0, 1:], CHANNEL_MEANINGS, strict=True):
            axis.set_title(title, fontsize=8, fontweight="normal", loc="center")
        figure.suptitle(
            f"Samples, brightened for display: {data}", fontsize=10, fontweight="bold", x=0.01, ha="left"
        )


def class_gallery(path: Path, examples: list[tuple[str, np.ndarray]], title: str) -> None:
    """Draw one example of every class: channels merged, and beside it the protein alone; brightened.

    Parameters
    ----------
    examples : list of (str, ndarray of shape (H, W, 4), uint8, R G B Y)
        Class name and image.
    """
    columns = 4
    rows = -(-len(examples) // columns)
    with canvas(path, rows, columns, size=(3.1 * columns, 1.75 * rows + 0.4), squeeze=False) as (
        figure,
        axes,
    ):
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, (name, image_HWK) in zip(axes.flat, examples, strict=False):
            image_HWK = brightened(image_HWK)
            gap = np.full((len(image_HWK), len(image_HWK) // 40, 3), 255, np.uint8)
            axis.imshow(np.concatenate([merged(image_HWK), gap, in_color(image_HWK, 1)], axis=1))
            axis.set_title(name, fontsize=9, fontweight="normal")
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")


def training_curves(path: Path, history: pd.DataFrame, loss: str, title: str) -> None:
    """Draw loss and macro-F1 of training and validation, and the learning rate, over epochs.

    The middle one is Liu et al. 2018, figure 6.

    Parameters
    ----------
    history : DataFrame
        As `lib.learning.fit.fit` returns it.
    """
    epochs = history["epoch"]
    panels = [
        ("loss", LOSSES.get(loss, loss), ("train_loss", "validation_loss")),
        ("macro-F1", "macro-F1 at a threshold of 0.5", ("train_macro_f1", "validation_macro_f1")),
    ]
    with canvas(path, 1, 3, size=(10.5, 3.2)) as (figure, axes):
        for axis, (name, label, columns) in zip(axes, panels, strict=False):
            for column, color in zip(columns, (BLUE, ORANGE), strict=True):
                axis.plot(
                    epochs, history[column], color=color, marker="o", markersize=3, label=column.split("_")[0]
                )
            axis.set_title(name)
            axis.set_ylabel(label)
            axis.legend(frameon=False)
        axes[2].plot(epochs, history["learning_rate"], color=GREY, marker="o", markersize=3)
        axes[2].set_title("learning rate")
        axes[2].set_ylabel("highest of the epoch")
        for axis in axes:
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_ylim(bottom=0)
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")


def learning_rates(path: Path, curve: pd.DataFrame, rising: float, suggestion: float, title: str) -> None:
    """Draw the loss over the learning rate, and the rate that it suggests.

    Parameters
    ----------
    curve : DataFrame
        As `lib.learning.lr_finder.find_rate` returns it.
    rising, suggestion : float
        As `lib.learning.lr_finder.suggest` returns them.
    """
    with canvas(path, size=(6, 3.4)) as (_, axes):
        axes.plot(curve["learning_rate"], curve["loss"], color="#c9ccd1", linewidth=1, label="each step")
        axes.plot(curve["learning_rate"], curve["smoothed"], color=BLUE, linewidth=2, label="running mean")
        axes.axvline(rising, color=GREY, linestyle=":", label=f"starts to rise: {rising:.1e}")
        axes.axvline(suggestion, color=ORANGE, label=f"suggested: {suggestion:.1e}")
        axes.set_xscale("log")
        low, high = curve["smoothed"].min(), curve["smoothed"].iloc[0]
        axes.set_ylim(low - 0.15 * (high - low), high + 0.5 * (high - low))
        axes.set_xlabel("learning rate, log scale")
        axes.set_ylabel("loss")
        axes.legend(frameon=False, fontsize=8)
        axes.set_title(title)


def features_by_class(path: Path, by_class: pd.DataFrame, truth_NC: np.ndarray, data: str) -> None:
    """Draw how each feature tells each class from all others, classes by group.

    Parameters
    ----------
    by_class : DataFrame
        As `lib.features.class_separation.by_class` returns it.
    truth_NC : ndarray of shape (N, C), bool
    """
    blocks = {
        group: [CLASSES[c] for c in classes if CLASSES[c] in by_class.index]
        for group, classes in GROUPS.items()
    }
    order = [name for block in blocks.values() for name in block]
    values = by_class.loc[order].to_numpy()
    with canvas(path, size=(2.6 + 0.5 * values.shape[1], 2.2 + 0.25 * len(order))) as (figure, axes):
        picture = axes.imshow(values, cmap="RdBu_r", vmin=0, vmax=1, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                color = "white" if abs(value - 0.5) > 0.33 else "#333"
                axes.text(
                    column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=7, color=color
                )
        count = dict(zip(CLASSES, truth_NC.sum(axis=0), strict=True))
        axes.set_yticks(range(len(order)), [f"{name}  ({count[name]:,})" for name in order])
        meanings = [FEATURES.get(name, name) for name in by_class]
        axes.set_xticks(range(len(meanings)), meanings, rotation=40, ha="right", rotation_mode="anchor")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        edge = -0.5
        for group, block in blocks.items():
            if block:
                axes.axhline(edge, color="white", linewidth=4)
                middle = edge + len(block) / 2
                axes.text(values.shape[1] - 0.35, middle, group, rotation=270, va="center", fontweight="bold")
            edge += len(block)
        figure.suptitle(
            f"Which feature tells which class: {data}", fontsize=10, fontweight="bold", x=0.01, ha="left"
        )
        figure.colorbar(
            picture,
            ax=axes,
            shrink=0.5,
            label="chance that a sample with the class\nhas the larger value than one without",
        )


def features_by_group(path: Path, features: pd.DataFrame, truth_NC: np.ndarray, data: str) -> None:
    """Draw each feature's distribution over samples whose labels are all of one group, and over mixed ones.

    Parameters
    ----------
    features : DataFrame
        A row a sample, a column a feature; nan and inf are left out.
    truth_NC : ndarray of shape (N, C), bool
    """
    within = {group: truth_NC[:, list(classes)].any(axis=1) for group, classes in GROUPS.items()}
    several = sum(mask.astype(int) for mask in within.values()) > 1
    masks = {f"{group} only": mask & ~several for group, mask in within.items()} | {"several groups": several}
    names = [f"{name} ({mask.sum():,})" for name, mask in masks.items()]
    columns = 5
    rows = -(-features.shape[1] // columns)
    with canvas(
        path, rows, columns, size=(2.6 * columns + 1.6, 1.75 * rows + 0.5), sharey=True, squeeze=False
    ) as (
        figure,
        axes,
    ):
        for axis in axes.flat[features.shape[1] :]:
            axis.set_axis_off()
        for axis, name in zip(axes.flat, features, strict=False):
            values = features[name].to_numpy()
            parts = [values[mask & np.isfinite(values)] for mask in masks.values()]
            boxes = axis.boxplot(
                parts, orientation="horizontal", whis=(5, 95), showfliers=False, widths=0.65,
                patch_artist=True, medianprops={"color": "white", "linewidth": 2},
            )  # fmt: skip
            for box, color in zip(boxes["boxes"], (BLUE, GREEN, ORANGE, GREY), strict=True):
                box.set(facecolor=color, edgecolor=color)
            axis.set_title(FEATURES.get(name, name), fontsize=8.5, fontweight="normal")
            axis.set_yticks(range(1, len(names) + 1), names)
            axis.tick_params(labelsize=7.5)
            if not any(map(len, parts)):
                axis.text(0.5, 0.5, "cannot be said", transform=axis.transAxes, ha="center", color=GREY)
                axis.set_xticks([])
                continue
            low, high = np.percentile(np.concatenate(parts), (5, 95))
            if 0 < low < high / 20:
                axis.set_xscale("log")
                axis.xaxis.set_major_locator(LogLocator(numticks=5))
                axis.set_xlim(low / 3, high * 3)
            else:
                axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.xaxis.set_major_formatter("{x:,.6g}")
        axes[0, 0].invert_yaxis()
        figure.suptitle(
            f"Features by group (box: quartiles and median; whiskers: 5 to 95 %): {data}",
            fontsize=10, fontweight="bold", x=0.01, ha="left",
        )  # fmt: skip


def label_names(truth_C: np.ndarray) -> str:
    """Return the names of a sample's labels, a line each."""
    return "\n".join(CLASSES[label] for label in np.flatnonzero(truth_C))
