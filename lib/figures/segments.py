"""Figures that show whether segmentation works: nuclei, protein segments, their contours and ellipses."""

from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Ellipse

from lib.features.biological import TEN, PreparedSample
from lib.features.segmentation import Segments
from lib.figures.colors import brightened, in_color
from lib.figures.data_and_training import ORANGE, canvas, figure_title
from lib.labels import CHANNELS

CONTOUR = "white"
WIDTH = 0.7  # of contours and ellipses, points


def protein_in_nuclei(path: Path, samples: list[PreparedSample], names: list[str], data: str) -> None:
    """Draw the protein inside and outside nuclei (Liu, Zhang, Zhou 2018, figure 2), one row per sample.

    Parameters
    ----------
    samples : list of PreparedSample
    names : list of str
        Title of each sample.
    data : str
        Name of the data, for the title.
    """
    with canvas(path, len(samples), 4, size=(11, 3.1 * len(samples) + 0.4), squeeze=False) as (figure, axes):
        for row, sample, name in zip(axes, samples, names, strict=True):
            inside_HW, outside_HW = sample.nuclear_and_other
            protein_HW3 = _picture(sample, "green")
            _show(row[0], _picture(sample, "blue"), f"{name}\nnucleus channel, nucleus mask")
            _show(row[1], protein_HW3, "protein, nucleus mask")
            for axes_of_mask in row[:2]:
                _draw_contours(axes_of_mask, inside_HW.astype(np.int32))
            caption = f"protein inside:\n{TEN['nuclear_ratio'](sample):.3g} of that outside"
            _show(row[2], protein_HW3 * inside_HW[..., None], caption)
            _show(row[3], protein_HW3 * outside_HW[..., None], "protein outside")
        figure_title(figure, f"Protein in nuclei (features.segmentation={samples[0].segmentation}): {data}")


def segments(path: Path, samples: list[PreparedSample], names: list[str], data: str) -> None:
    """Draw contours and ellipses of segments and nuclei (Liu, Zhang, Zhou 2018, figure 3).

    One row per sample. Lines lead from each segment to the nearest nucleus. Parameters as in
    `protein_in_nuclei`.
    """
    with canvas(path, len(samples), 3, size=(11, 4.1 * len(samples) + 0.4), squeeze=False) as (figure, axes):
        for row, sample, name in zip(axes, samples, names, strict=True):
            protein, nuclei = sample.segments, sample.nuclei
            _show(row[0], _picture(sample, "green"), f"{name}\nprotein")
            compactness, axis_ratio, area_ratio, distance = (TEN[name](sample) for name in list(TEN)[6:])
            caption = f"{len(protein.area_S):,} segments\n"
            caption += f"mean compactness {compactness:.3g} (disc: 1), axis ratio {axis_ratio:.3g} (round: 1)"
            _show(row[1], _picture(sample, "green"), caption)
            caption = f"{len(nuclei.area_S):,} nuclei\n"
            caption += f"segment area / nucleus area {area_ratio:.3g}, distance to nucleus {distance:.3g} px"
            _show(row[2], _picture(sample, "blue"), caption)
            for axis, found in ((row[1], protein), (row[2], nuclei)):
                _draw_contours(axis, found.labels_HW)
                _draw_ellipses(axis, found)
            _draw_distances(row[2], protein, nuclei)
        figure_title(
            figure,
            f"Segments (features.segmentation={samples[0].segmentation}): {data}\n"
            "white: contours; orange: fitted ellipses; green: from each segment to the nearest nucleus",
        )


def contours(labels_HW: np.ndarray) -> list[np.ndarray]:
    """Return the contours of all labels but 0, those of holes included: arrays (P, 2) of column and row."""
    return [
        outline.reshape(-1, 2)
        for label in range(1, labels_HW.max() + 1)
        for outline in cv2.findContours(
            (labels_HW == label).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )[0]
    ]


def _picture(sample: PreparedSample, color: str) -> np.ndarray:
    return in_color(brightened(sample.image_HWK), CHANNELS.index(color))


def _show(axis: Axes, picture_HW3: np.ndarray, title: str) -> None:
    axis.imshow(picture_HW3, interpolation="nearest" if len(picture_HW3) < 200 else "antialiased")
    axis.set_axis_off()
    axis.set_title(title, fontsize=8, fontweight="normal")


def _draw_contours(axis: Axes, labels_HW: np.ndarray) -> None:
    axis.add_collection(
        PolyCollection(contours(labels_HW), facecolors="none", edgecolors=CONTOUR, linewidths=WIDTH),
        autolim=False,
    )


def _draw_ellipses(axis: Axes, found: Segments) -> None:
    for row, column, major, minor, angle in found.ellipse_S5:
        axis.add_patch(
            Ellipse((column, row), major, minor, angle=angle, fill=False, color=ORANGE, linewidth=WIDTH)
        )


def _draw_distances(axis: Axes, protein: Segments, nuclei: Segments) -> None:
    if len(nuclei.area_S):
        offset_SN2 = protein.centre_S2[:, None] - nuclei.centre_S2[None]
        nearest_S2 = nuclei.centre_S2[(offset_SN2**2).sum(axis=2).argmin(axis=1)]
        lines_S22 = np.stack([protein.centre_S2, nearest_S2], axis=1)[..., ::-1]
        axis.add_collection(LineCollection(lines_S22, colors="lime", linewidths=WIDTH), autolim=False)
