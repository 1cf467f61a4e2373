"""Plausibility of images: whether the channels of a sample look like stains of cells, in the order R G B Y.

The rules are few and simple. Their limits were measured on 66 real samples and on the brightness statistics
of 19,456 real images, of which fewer than one in a hundred reaches any of them.
"""

import copy
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from lib import parallel
from lib.console import Progress, warn
from lib.data import image_files, opencv
from lib.data.sharded_array import ShardedArray
from lib.data.shards import resize
from lib.features.segmentation import segment
from lib.labels import CHANNELS

COLUMNS = ["id", "channel", "problem", "observed", "expected"]
SIZE = 256  # larger images are reduced to it
FLAT = 0.25  # standard deviation in grey levels below which a channel shows nothing
# largest share of pixels at 255, R G B Y; the most seen in the real samples is 0.04 0.03 0.09 0.02
SATURATED = (0.1, 0.1, 0.25, 0.1)
BRIGHT = 3.0  # standard deviations of the training images' pixels that a channel's mean may lie above theirs
# a darker blue channel is not examined for nuclei: mean and standard deviation in grey levels
VISIBLE = (1.0, 3.0)
SQUARE = 0.02  # share of the longer side by which an image may be shorter
NUCLEUS_AREA = (600 / 512**2, 100_000 / 512**2)  # share of the image
COMPACT = 0.7  # below it, another channel that is more compact shows the nuclei
RAGGED = 0.5  # below it, there are no nuclei at all


class Finding(NamedTuple):
    """What is implausible in one channel: its name (or ``all``), and phrases for a table."""

    channel: str
    problem: str
    observed: str
    expected: str


class Rows(NamedTuple):
    """Some rows of an array, and what their channels are compared with."""

    array: ShardedArray
    numbers: range
    statistics: dict[str, list[float]]


def check_array(
    array: ShardedArray, ids: list[str], statistics: dict[str, list[float]], workers: int
) -> pd.DataFrame:
    """Check all images of an array.

    Parameters
    ----------
    ids : list of str
        Of the rows.
    statistics : dict of list of 4 float
        ``mean`` and ``std`` of the training images' pixels, grey levels 0-255, R G B Y.
    workers : int
        Number of processes.

    Returns
    -------
    DataFrame
        `COLUMNS`, a row for each finding, in the order of `ids`.
    """
    tasks, found = [Rows(array, numbers, statistics) for numbers, _ in array.shards()], {}
    with Progress(len(ids), "plausibility of the images", "samples") as progress:
        for part in parallel.run(_check_rows, tasks, workers, progress):
            found |= part
    rows = [(ids[row], *finding) for row in sorted(found) for finding in found[row]]
    return pd.DataFrame(rows, columns=COLUMNS)


def check_shapes(folder: Path, ids: list[str]) -> pd.DataFrame:
    """Check that images are square: all are resized to squares, so that cells of others are squeezed.

    Parameters
    ----------
    folder : Path
        With the image files of the samples; of each, green is examined.

    Returns
    -------
    DataFrame
        As `check_array` returns it.
    """
    rows = []
    for sample in ids:
        size = image_files.read_size(image_files.find(folder / f"{sample}_green.png"))
        if size and min(size) < (1 - SQUARE) * max(size):
            observed = "{:,} x {:,} pixels".format(*size)
            rows.append((sample, "all", "not square", observed, "a square: crop it, or cells are squeezed"))
    return pd.DataFrame(rows, columns=COLUMNS)


def warn_of_findings(findings: pd.DataFrame, count: int, listed: str) -> None:
    """Print a line for each kind of finding: in how many of `count` images, the first, and where all are."""
    for (channel, problem), rows in findings.groupby(["channel", "problem"], sort=False):
        first = rows.iloc[0]
        warn(
            f"{channel}: {problem} in {len(rows):,} of {count:,} images; the first is {first.id}: "
            f"{first.observed}, expected {first.expected}; do not trust their locations; all are in {listed}"
        )


def _check_rows(rows: Rows) -> dict[int, list[Finding]]:
    array = copy.copy(rows.array)  # a copy maps only these rows, and releases them at the end
    with opencv.single_thread():
        return {row: check_image(array[row], rows.statistics) for row in rows.numbers}


def check_image(image_HWK: np.ndarray, statistics: dict[str, list[float]]) -> list[Finding]:
    """Return what is implausible in one sample, (H, W, 4) uint8, R G B Y; parameters as of `check_array`."""
    channels = cv2.split(image_HWK)
    flat = [channel_HW.std() < FLAT for channel_HW in channels]
    if all(flat):
        level = image_HWK.mean()
        return [Finding("all", "empty", f"grey level {level:.0f} everywhere", "an image of cells")]
    found = []
    for number, (name, channel_HW) in enumerate(zip(CHANNELS, channels, strict=True)):
        saturated, mean = (channel_HW == 255).mean(), channel_HW.mean()
        usual, spread = statistics["mean"][number], statistics["std"][number]
        if flat[number]:
            found.append(Finding(name, "empty", f"grey level {mean:.0f} everywhere", "a stain"))
        elif saturated > SATURATED[number]:
            limit = f"at most {SATURATED[number]:.0%}"
            found.append(Finding(name, "saturated", f"{saturated:.0%} of the pixels at 255", limit))
        elif mean > usual + BRIGHT * spread:
            expected = f"about {usual:.0f}, at most {usual + BRIGHT * spread:.0f}"
            found.append(Finding(name, "bright", f"mean grey level {mean:.0f}", expected))
        elif any(np.array_equal(channel_HW, channels[other]) for other in range(number)):
            found.append(Finding(name, "repeated", "the same image as another channel", "its own image"))
    if not any(finding.channel == "blue" for finding in found):
        found += _check_nuclei(image_HWK)
    return found


def _check_nuclei(image_HWK: np.ndarray) -> list[Finding]:
    """Check that blue shows nuclei: compact bright regions, as no other stain has them so regularly."""
    mean, std = image_HWK[..., 2].mean(), image_HWK[..., 2].std()
    if mean < VISIBLE[0] or std < VISIBLE[1]:
        return []
    if len(image_HWK) > SIZE:
        image_HWK = resize(image_HWK, SIZE)
    compact = {
        name: compactness(channel_HW) for name, channel_HW in zip(CHANNELS, cv2.split(image_HWK), strict=True)
    }
    blue, best = compact["blue"], max(compact, key=compact.get)
    observed, expected = f"bright regions of compactness {blue:.2f}", f"at least {COMPACT} (a disc: 1)"
    if blue < COMPACT <= compact[best]:
        problem = f"no nuclei, but {best} shows some"
        return [Finding("blue", problem, f"{observed}, {compact[best]:.2f} in {best}", expected)]
    return [Finding("blue", "no nuclei", observed, expected)] if blue < RAGGED else []


def compactness(channel_HW: np.ndarray) -> float:
    """Return how compact the bright regions of nuclear size are: 4 pi area / perimeter², weighted by area.

    Between 0, also without such regions, and 1 for discs.
    """
    size = len(channel_HW)
    brightest = max(int(channel_HW.max()), 1)
    side = max(3, 2 * round((9 * size / 512 - 1) / 2) + 1)
    blurred_HW = cv2.GaussianBlur(cv2.convertScaleAbs(channel_HW, alpha=255 / brightest), (side, side), 0)
    smallest, largest = (area * size**2 for area in NUCLEUS_AREA)
    segments = segment(blurred_HW, smallest, largest, fill_holes=True)
    if not len(segments.area_S):
        return 0.0
    ratio_S = np.minimum(4 * np.pi * segments.area_S / segments.perimeter_S**2, 1)
    return float(np.average(ratio_S, weights=segments.area_S))
