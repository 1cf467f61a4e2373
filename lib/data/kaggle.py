"""Kaggle's folder: reading and validating its tables and images; nothing is ever written to it.

Layout: ``train.csv`` (Id,Target), ``sample_submission.csv`` (Id,Predicted), and ``train/`` and ``test/`` with
one image per channel, ``{id}_{red|green|blue|yellow}.png``, or a TIFF or JPEG of that name (`image_files`).
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib import files, tables
from lib.console import warn
from lib.data import image_files, image_folders
from lib.data.sample_index import SampleIndex
from lib.errors import UserError, quote
from lib.labels import CHANNELS

SUBSETS = ("train", "test")  # folders of images
LONGEST_ID = 240  # bytes


@dataclass(frozen=True)
class BadImage:
    """An image file that cannot be used.

    Attributes
    ----------
    subset : str
        The folder, for example train or test.
    id : str
        The sample.
    file : str
        The file's name.
    reason : str
        A phrase that fits after the file's name.
    """

    subset: str
    id: str
    file: str
    reason: str


class BadImageError(Exception):
    """Raised by `read_image`; its first argument is the list of the sample's `BadImage`."""


def read_tables(folder: Path) -> SampleIndex:
    """Read ``train.csv`` and ``sample_submission.csv``.

    Raises
    ------
    UserError
        As `read_labels`, or if an id is in both files.
    """
    train_csv, submission_csv = folder / "train.csv", folder / "sample_submission.csv"
    labelled, test = _read_table(train_csv, "Target"), _read_table(submission_csv, "Predicted")
    line_of = {sample: line for line, sample in labelled["Id"].items()}
    both = [(line, sample) for line, sample in test["Id"].items() if sample in line_of]
    if both:
        line, sample = both[0]
        raise UserError(
            f"{submission_csv}, line {line}: Id {quote(sample)} is also in {train_csv}, line "
            f"{line_of[sample]}{f', as {len(both):,} ids are' * (len(both) > 1)}: expected each id in one "
            f"of them; remove it from the other"
        )
    return SampleIndex(
        list(labelled["Id"]), tables.read_targets(train_csv, labelled["Target"]), list(test["Id"])
    )


def read_labels(folder: Path) -> tuple[list[str], list[tuple[int, ...]]]:
    """Read ``train.csv``.

    Returns
    -------
    ids : list of str, length N
        In the file's order.
    targets : list of tuple of int, length N
        Class numbers 0-27 of every sample, ascending.

    Raises
    ------
    UserError
        As `lib.tables.read_table`; or if there are no rows, an id or target is invalid, or an id is listed
        twice.
    """
    path = folder / "train.csv"
    table = _read_table(path, "Target")
    return list(table["Id"]), tables.read_targets(path, table["Target"])


def image_path(folder: Path, subset: str, sample: str, channel: str) -> Path:
    """Return the path of the image of one channel of a sample (`image_files.find`).

    Parameters
    ----------
    folder : Path
        In Kaggle's layout.
    subset : str
        The folder in it that holds the image, for example train or test.
    channel : str
        One of `lib.labels.CHANNELS`.
    """
    return image_files.find(folder / subset / f"{sample}_{channel}.png")


def require_images(folder: Path, subset: str, ids: list[str]) -> None:
    """Raise a `UserError` that says where the images may be, if none of the samples has any."""
    first = [image_path(folder, subset, sample, channel) for sample in ids[:1] for channel in CHANNELS]
    if not ids or any(map(os.path.lexists, first)):
        return
    images = folder / subset
    if not images.is_dir() or image_folders.list_channels(images)[0].keys().isdisjoint(ids):
        raise UserError(
            f"{images} contains no image of the {len(ids):,} samples in its table, such as {first[0].name}; "
            f"{image_folders.locate(images, [folder])}"
        )


def list_samples(folder: Path) -> list[str]:
    """Return the ids of all samples with an image of any channel in a folder, sorted.

    Hidden files are ignored, and so are the pictures of merged channels that the Human Protein Atlas
    publishes, such as ``{id}_blue_red_green.jpg``. Other images that belong to no sample are warned about.

    Raises
    ------
    UserError
        If there is none, or the name of one contains characters that cannot be displayed.
    """
    channels, others = image_folders.list_channels(folder)
    if not channels:
        raise UserError(
            f"{folder} contains no image {{id}}_green.png: expected four images per sample, {{id}}_red, "
            f"_green, _blue and _yellow, as PNG, TIFF or JPEG with 8 bits per pixel; "
            f"{image_folders.locate(folder)}"
        )
    for sample in channels:
        if not sample.isprintable():
            raise UserError(
                f"{folder} contains images named {sample!r}, a name with characters that cannot be "
                f"displayed: rename them"
            )
    if others:
        warn(
            f"{folder}: ignored {len(others):,} image{'s' * (len(others) > 1)} not named after a sample and "
            f"a channel ({{id}}_red and so on), such as {others[0]!r}"
        )
    return sorted(channels)


def read_image(folder: Path, subset: str, sample: str, projection: str = "none") -> np.ndarray:
    """Read the four channels of one sample.

    Parameters
    ----------
    projection : str
        Of files with several pages (`image_files.read_plane`).

    Returns
    -------
    image_HWK : ndarray of shape (H, W, 4), uint8
        Channel order R G B Y, values 0-255 as in the files.

    Raises
    ------
    BadImageError
        If a file cannot be used (`image_files.read_plane`) or the four differ in size; it lists every such
        file of the sample.
    """
    planes: list[np.ndarray] = []
    bad: list[BadImage] = []
    for channel in CHANNELS:
        path = image_path(folder, subset, sample, channel)
        try:
            plane = image_files.read_plane(path, projection)
            if planes and plane.shape != planes[0].shape:
                (height, width), (first_height, first_width) = plane.shape, planes[0].shape
                raise ValueError(f"is {width}x{height}, expected the sample's {first_width}x{first_height}")
            planes.append(plane)
        except ValueError as error:
            bad.append(BadImage(subset, sample, path.name, str(error)))
    if bad:
        raise BadImageError(bad)
    return cv2.merge(planes)


def report_bad_images(
    bad: list[BadImage], list_path: Path, tolerated: int, samples: dict[str, list[str]]
) -> None:
    """List bad images in a CSV file, or delete the file if there is none; warn, or stop if they are too many.

    Parameters
    ----------
    tolerated : int
        Largest number of samples with bad images to continue without.
    samples : dict of list of str
        Ids of all samples by folder; bad images are too many if no sample of a folder is left.

    Raises
    ------
    UserError
        With the first bad image, where the list is, and how to continue without these samples.
    """
    if not bad:
        list_path.unlink(missing_ok=True)
        return
    table = pd.DataFrame([asdict(image) for image in bad])
    files.write_csv(list_path, table)
    by_subset = table.groupby("subset")["id"].nunique()
    count = int(by_subset.sum())
    none_left = [name for name in by_subset.index if by_subset[name] == len(samples[name])]
    listed = f"all {len(bad):,} files are" if len(bad) > 1 else "it is"
    first = (
        f"the first is {bad[0].subset}/{bad[0].file}, which {bad[0].reason}; {listed} listed in {list_path}"
    )
    have = f"{count:,} sample{'s have' if count > 1 else ' has'} bad images; {first}"
    if none_left:
        raise UserError(f"{have}: fix them; no sample of {' and '.join(none_left)} can be used")
    if count > tolerated:
        raise UserError(
            f"{have}: fix them, or continue without these samples with --set data.max_bad_images={count}"
        )
    warn(f"continuing without {count:,} sample{'s' * (count > 1)} with bad images; {first}")


def _read_table(path: Path, column: str) -> pd.DataFrame:
    """Read a table with the columns Id and `column`, with ids validated."""
    expected = f"expected the columns Id,{column}"
    if not os.path.lexists(path):
        raise UserError(
            f"{path} is missing: put Kaggle's files in {path.parent}, or pass their folder with --data FOLDER"
        )
    table = tables.read_table(path, expected, ("Id", column))
    if table.empty:
        raise UserError(f"{path} has no rows: {expected} and one row per sample")
    for line, sample in table["Id"].items():
        problem = _problem_of_id(sample)
        if problem:
            raise UserError(f"{path}, line {line}: Id {problem}")
    tables.lines_by_id(path, table["Id"])
    return table


def _problem_of_id(sample: str) -> str:
    """Return what is wrong with an id, which becomes part of file names; empty if nothing is."""
    if not sample.strip():
        return "is empty"
    # it must not lead out of the folder, and fit into a file system's 255 bytes with a channel and suffix
    if "/" in sample or "\\" in sample or ".." in sample or not sample.isprintable():
        return f"{quote(sample)} cannot be part of a file name"
    if len(sample.encode()) > LONGEST_ID:
        return f"{quote(sample)} is too long for a file name: expected at most {LONGEST_ID} bytes"
    if sample != sample.strip():
        return f"{quote(sample)} begins or ends with a space: remove it"
    return ""
