"""Kaggle's folder, read and checked; nothing is ever written to it.

Layout: ``train.csv`` (Id,Target), ``sample_submission.csv`` (Id,Predicted), ``train/`` and
``test/`` with one 8-bit grayscale PNG a channel, ``{id}_{red|green|blue|yellow}.png``. Where there is no PNG,
a TIFF or JPEG of that name is taken, grayscale or in the stain's colour as the atlas publishes them.
"""

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib import files
from lib.console import warn
from lib.errors import UserError
from lib.labels import CHANNELS, parse_target

SUBSETS = ("train", "test")
OTHER_KINDS = (".tif", ".tiff", ".jpg", ".jpeg")  # taken where there is no .png
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every whole PNG file
PNG_COLORS = {0: "grayscale", 2: "RGB", 3: "palette", 4: "grayscale with transparency", 6: "RGBA"}


@dataclass(frozen=True)
class BadImage:
    """A file that cannot be used, and why."""

    subset: str
    id: str
    file: str
    reason: str


class BadImageError(Exception):
    """Raised by `read_image`; its first argument is the list of `BadImage` of one sample."""


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
        If the file is missing, empty, lacks a column, or a row has a bad id or target.
    """
    table = _read_table(folder / "train.csv", "Target")
    targets = []
    for line, _, text in table:
        try:
            targets.append(parse_target(text))
        except ValueError as error:
            raise UserError(f"{folder / 'train.csv'}, line {line}: Target {error}") from None
    return [sample for _, sample, _ in table], targets


def read_submission_ids(folder: Path) -> list[str]:
    """Return the ids of ``sample_submission.csv`` in its order: the test set; refuses as `read_labels`."""
    return [sample for _, sample, _ in _read_table(folder / "sample_submission.csv", "Predicted")]


def image_path(folder: Path, subset: str, sample: str, channel: str) -> Path:
    """Return where the image of one channel of a sample lies, or is expected; `subset` is a folder's name."""
    path = folder / subset / f"{sample}_{channel}.png"
    if path.exists():
        return path
    others = (path.with_name(f"{sample}_{channel}{kind}") for kind in OTHER_KINDS)
    return next((other for other in others if other.exists()), path)


def list_samples(folder: Path) -> list[str]:
    """Return the ids of the samples in a folder of images, sorted: those with a green channel.

    Raises
    ------
    UserError
        If there is none.
    """
    kinds = (".png", *OTHER_KINDS)
    found = {path.stem.removesuffix("_green") for path in folder.glob("*_green.*") if path.suffix in kinds}
    if not found:
        raise UserError(
            f"{folder} holds no image {{id}}_green.png: expected four a sample, {{id}}_red, _green, _blue "
            f"and _yellow, as PNG, TIFF or JPEG with 8 bits a pixel"
        )
    return sorted(found)


def read_image(folder: Path, subset: str, sample: str) -> np.ndarray:
    """Read the four channels of one sample.

    Returns
    -------
    image_HWK : ndarray of shape (H, W, 4), uint8
        Channel order R G B Y, values 0-255 as in the files.

    Raises
    ------
    BadImageError
        If a file is missing, empty, truncated, damaged, a PNG that is none or is not 8-bit grayscale, another
        kind with other than 8 bits, or the four differ in size; it names every such file of the sample.
    """
    planes: list[np.ndarray] = []
    bad = []
    for channel in CHANNELS:
        path = image_path(folder, subset, sample, channel)
        try:
            plane = _read_plane(path)
            if planes and plane.shape != planes[0].shape:
                (height, width), (first_height, first_width) = plane.shape, planes[0].shape
                raise ValueError(f"is {width}x{height}, expected the sample's {first_width}x{first_height}")
            planes.append(plane)
        except ValueError as error:
            bad.append(BadImage(subset, sample, path.name, str(error)))
    if bad:
        raise BadImageError(bad)
    return cv2.merge(planes)


def refuse_bad_images(bad: list[BadImage], list_path: Path, allowed: int) -> None:
    """List bad images in a CSV file; stop if they spoil more samples than allowed.

    Raises
    ------
    UserError
        With the first of them, where the list is, and how to go on without them.
    """
    if not bad:
        list_path.unlink(missing_ok=True)
        return
    table = pd.DataFrame([asdict(image) for image in bad])
    files.write_text(list_path, table.to_csv(index=False))
    spoiled = table["id"].nunique()
    found = f"{spoiled:,} sample{'s have' if spoiled > 1 else ' has'} bad images"
    first = f"first {bad[0].subset}/{bad[0].file} {bad[0].reason}"
    listed = f"all {len(bad):,} files are listed in {list_path}"
    if spoiled > allowed:
        raise UserError(
            f"{found}, {first}; {listed}: "
            f"mend them, or go on without these samples with --set data.max_bad_images={spoiled}"
        )
    warn(f"going on without {spoiled:,} samples, {first}; {listed}")


def _read_plane(path: Path) -> np.ndarray:
    """Return an (H, W) uint8 image, or raise a `ValueError` that says what is wrong with the file.

    The header is looked at here, since cv2 would silently turn other kinds of PNG into this one.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError("is missing") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not data:
        raise ValueError("is empty")
    if path.suffix not in OTHER_KINDS:
        _check_png(data)
    plane = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if plane is None:
        raise ValueError("is damaged: it cannot be decoded")
    if plane.dtype != np.uint8:
        raise ValueError(f"has {8 * plane.itemsize} bits a pixel, expected 8")
    # of colours the strongest: they show one stain
    return plane if plane.ndim == 2 else np.ascontiguousarray(plane[..., :3].max(axis=2))


def _check_png(data: bytes) -> None:
    """Raise a `ValueError` unless it is a whole PNG file, by its header 8-bit grayscale."""
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError("is no PNG file")
    if not data.endswith(PNG_END):
        raise ValueError(f"is truncated ({len(data)} bytes)")
    depth, color = data[24], data[25]  # PNG specification, chunk IHDR
    if color != 0:
        raise ValueError(f"is {PNG_COLORS.get(color, f'colour type {color}')}, expected grayscale")
    if depth != 8:
        raise ValueError(f"has {depth} bits a pixel, expected 8")


def _read_table(path: Path, column: str) -> list[tuple[int, str, str]]:
    """Return (line number, Id, value of the column) of every row, ids checked."""
    expected = f"expected the columns Id,{column}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, row) for number, row in _numbered(csv.reader(file)) if row]
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing: put Kaggle's files in {path.parent}, or name their folder with --data"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table: {error}; {expected}") from None
    if not lines:
        raise UserError(f"{path} is empty: {expected}")
    (_, header), *lines = lines
    if not {"Id", column} <= set(header):
        raise UserError(f"{path} has the columns {','.join(header)}; {expected}")
    if not lines:
        raise UserError(f"{path} has no rows: {expected} and a row for each sample")
    for number, row in lines:
        if len(row) != len(header):
            raise UserError(f"{path}, line {number}: {len(row)} fields, the first line has {len(header)}")
    places = header.index("Id"), header.index(column)
    table = [(number, row[places[0]], row[places[1]]) for number, row in lines]
    _check_ids(path, table)
    return table


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    for row in reader:
        yield reader.line_num, row


def _check_ids(path: Path, table: list[tuple[int, str, str]]) -> None:
    seen: dict[str, int] = {}
    for line, sample, _ in table:
        if not sample.strip():
            raise UserError(f"{path}, line {line}: Id is empty")
        # an id becomes part of a file name: it must not lead out of the folder
        if "/" in sample or "\\" in sample or ".." in sample or not sample.isprintable():
            raise UserError(f"{path}, line {line}: Id {sample!r} cannot be part of a file name")
        if sample in seen:
            raise UserError(f"{path}, line {line}: Id {sample} stands already in line {seen[sample]}")
        seen[sample] = line
