"""Image files: finding and reading the image of one stain; the only place where images of cells are read."""

import os
import stat
import time
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lib.data import image_formats
from lib.labels import CHANNELS

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")  # in any case; the first that exists is read
MAX_BYTES = 5 * image_formats.MAX_PIXELS  # of a file: uncompressed colour and alpha, and what surrounds them
# a colour image shows a single stain if its colours are proportional to each other: on average over blocks
# of BLOCK x BLOCK pixels, which JPEG's coarser colours do not blur, they differ in root mean square by at
# most NOISE grey levels and VARIATION of the strongest colour's standard deviation
BLOCK, NOISE, VARIATION = 4, 2.5, 0.1
CLOCK_TICK = 2_000_000_000  # nanoseconds; the coarsest resolution of a folder's modification time


def split_name(name: str) -> tuple[str, str] | None:
    """Return id and channel of an image's file name; None for any other file, hidden ones among them.

    >>> split_name("a_1_Green.TIF"), split_name("a_red.ome.tif"), split_name("a_merged.png")
    (('a_1', 'green'), ('a', 'red'), None)
    """
    stem, suffix = _split_suffix(name)
    sample, _, channel = stem.rpartition("_")
    if name[0] == "." or not sample or suffix.lower() not in SUFFIXES or channel.lower() not in CHANNELS:
        return None
    return sample, channel.lower()


def _split_suffix(name: str) -> tuple[str, str]:
    """Return stem and suffix of a file name; the suffix of OME-TIFF is ``.tif`` or ``.tiff``, too."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122, as a Path costs more than everything else
    is_ome = suffix.lower() in (".tif", ".tiff") and stem.lower().endswith(".ome")
    return (stem[: -len(".ome")] if is_ome else stem), suffix


def find(path: Path) -> Path:
    """Return the file of an image by the path of its PNG, ``{id}_{channel}.png``.

    Suffix and channel may be written in any case. Of several files, the suffix that comes first in `SUFFIXES`
    is used, and lower case before upper case. Where there is none, `path` is returned.
    """
    if os.path.lexists(path):
        return path
    name = _other_names(path.parent).get(path.stem)
    return path.with_name(name) if name else path


def _other_names(folder: Path) -> dict[str, str]:
    """Return the files of a folder that are not named ``{id}_{channel}.png`` by ``{id}_{channel}``."""
    try:
        changed = folder.stat().st_mtime_ns
        if 0 <= time.time_ns() - changed < CLOCK_TICK:  # it may change again without a new time
            return _list_other_names.__wrapped__(str(folder), changed)
        return _list_other_names(str(folder), changed)
    except OSError:
        return {}


@lru_cache(maxsize=4)
def _list_other_names(folder: str, changed: int) -> dict[str, str]:
    keys = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            split = split_name(entry.name)
            if split and entry.name != f"{split[0]}_{split[1]}.png":
                keys[entry.name] = "_".join(split)
    # in reverse, so that the preferred name of a key is the last to be put in
    return {keys[name]: name for name in sorted(keys, key=_preference, reverse=True)}


def _preference(name: str) -> tuple[int, bool, int, str]:
    stem, suffix = _split_suffix(name)
    channel = stem.rpartition("_")[2]
    ending = channel + suffix
    return SUFFIXES.index(suffix.lower()), ending != ending.lower(), len(name), name


def read_plane(path: Path, projection: str = "none") -> np.ndarray:
    """Read the image file of one stain.

    PNG, TIFF and JPEG follow the same rules: grayscale, or colour in which a single stain shows, as the Human
    Protein Atlas publishes them; the strongest of the three colours is returned. Palettes and fewer than 8
    bits are expanded, transparent pixels darken in proportion.

    Parameters
    ----------
    projection : str
        ``none``, or ``max`` for the brightest value of each pixel over the pages of a TIFF file.

    Returns
    -------
    plane_HW : ndarray of shape (H, W), uint8
        Grey levels 0-255.

    Raises
    ------
    ValueError
        If the file cannot be used; the message is a phrase that fits after a file name.
    """
    data = _read_bytes(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _project(map(_single_stain, image_formats.decode(data, projection == "max")))
        except (ValueError, MemoryError, OSError):  # the last: of the system, such as too many open files
            raise
        except Exception as error:  # of any type, as damaged bytes declare anything
            raise ValueError(f"is damaged: it cannot be decoded ({type(error).__name__})") from None


def read_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of an image file in pixels, without decoding it; None if that fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return image.size
    except Exception:  # of any type, as damaged bytes declare anything; reading the file says why
        return None


def _project(planes: Iterator[np.ndarray]) -> np.ndarray:
    """Return the brightest value of each pixel."""
    plane = next(planes)
    for page, other in enumerate(planes, start=2):
        if other.shape != plane.shape:
            raise ValueError(f"has pages of different sizes: page {page} differs from the first")
        plane = np.maximum(plane, other)
    return plane


def _read_bytes(path: Path) -> bytes:
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # reading a FIFO would never end
            kind = "a directory" if stat.S_ISDIR(state.st_mode) else "not a regular file"
            raise ValueError(f"cannot be read: it is {kind}")
        if state.st_size > MAX_BYTES:
            raise ValueError(f"has {state.st_size:,} bytes, expected at most {MAX_BYTES:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError("is a link to a missing file" if path.is_symlink() else "is missing") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not data:
        raise ValueError("is empty")
    return data


def _single_stain(image: np.ndarray) -> np.ndarray:
    """Return the plane of a stain from grayscale or colour, with or without alpha; raise for a composite."""
    if image.ndim == 2:
        return image
    color_HWC = image[..., :3]
    if image.shape[2] == 4:
        alpha_HW1 = image[..., 3:]
        if not alpha_HW1.any():
            raise ValueError("is transparent everywhere: save it without alpha channel")
        if alpha_HW1.min() < 255:  # what a black background shows
            color_HWC = ((color_HWC * alpha_HW1.astype(np.uint16) + 127) // 255).astype(np.uint8)
    height, width = color_HWC.shape[:2]
    small = (max(1, width // BLOCK), max(1, height // BLOCK))
    blocks_NC = cv2.resize(color_HWC, small, interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float32)
    strongest_N = blocks_NC[:, blocks_NC.sum(axis=0).argmax()]
    share_C = strongest_N @ blocks_NC / max(strongest_N @ strongest_N, 1e-9)
    difference = np.sqrt(((blocks_NC - strongest_N[:, None] * share_C) ** 2).mean(axis=0)).max()
    if difference > NOISE + VARIATION * strongest_N.std():
        raise ValueError(
            "shows several colours (a composite of stains, or a colour map), expected grayscale or the "
            "colour of one stain: save each stain as a file of its own"
        )
    return np.ascontiguousarray(color_HWC.max(axis=2))
