"""Decoding of one image file, with checks: the only place where the project reads images of cells."""

from pathlib import Path

import cv2
import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk of every complete PNG file
PNG_COLORS = {0: "grayscale", 2: "RGB", 3: "palette", 4: "grayscale with transparency", 6: "RGBA"}
OTHER_SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg")  # accepted where there is no .png
SUFFIXES = (".png", *OTHER_SUFFIXES)


def find(path: Path) -> Path:
    """Return the path of an image: `path`, which ends in .png, or else a file with one of `OTHER_SUFFIXES`.

    Where none exists, `path` is returned.
    """
    if path.exists():
        return path
    others = (path.with_name(path.stem + suffix) for suffix in OTHER_SUFFIXES)
    return next((other for other in others if other.exists()), path)


def read_plane(path: Path) -> np.ndarray:
    """Read the image file of one stain.

    A PNG must be grayscale. TIFF and JPEG may be in colour, as the Human Protein Atlas publishes them: the
    strongest of the three colours is returned, since they show a single stain.

    Returns
    -------
    plane_HW : ndarray of shape (H, W), uint8
        Grey levels 0-255.

    Raises
    ------
    ValueError
        If the file is missing, empty, truncated or damaged, does not have 8 bits per pixel and channel, or is
        named .png without being a grayscale PNG; the message is a phrase that fits after a file name.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError("is missing") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not data:
        raise ValueError("is empty")
    if path.suffix not in OTHER_SUFFIXES:
        _check_png(data)
    plane = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if plane is None:
        raise ValueError("is damaged: it cannot be decoded")
    if plane.dtype != np.uint8:
        raise ValueError(f"has {8 * plane.itemsize} bits per pixel, expected 8")
    return plane if plane.ndim == 2 else np.ascontiguousarray(plane[..., :3].max(axis=2))


def _check_png(data: bytes) -> None:
    """Raise a `ValueError` unless this is a complete PNG file whose header declares 8-bit grayscale.

    cv2 cannot tell: it silently converts other kinds of PNG.
    """
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError("is not a PNG file")
    if not data.endswith(PNG_END):
        raise ValueError(f"is truncated ({len(data)} bytes)")
    depth, color = data[24], data[25]  # PNG specification, chunk IHDR
    if color != 0:
        raise ValueError(f"is {PNG_COLORS.get(color, f'colour type {color}')}, expected grayscale")
    if depth != 8:
        raise ValueError(f"has {depth} bits per pixel, expected 8")
