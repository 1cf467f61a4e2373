"""PNG, TIFF and JPEG: what a file declares, and its strict decoding.

The kind is recognised by the content, whatever the file's name. Everything declared is checked before the
pixels are decoded, and what OpenCV would repair or convert silently is rejected. PNG and JPEG are decoded by
OpenCV, TIFF by Pillow, which honours its photometric interpretation.

All functions raise a `ValueError` whose message is a phrase that fits after a file name; damage may cause
other errors, which `image_files.read_plane` turns into one.
"""

import io
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

import cv2
import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

MAX_PIXELS = 100_000_000  # declared width times height, e.g. 10,000 x 10,000
ALLOWED = f"images of up to {MAX_PIXELS:,} pixels are read"

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_GRAYSCALE = 0  # colour type
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0")  # the last: BigTIFF
JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of the segments that declare the size
JPEG_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
JPEG_SCAN, JPEG_END, JPEG_APP2 = 0xDA, 0xD9, 0xE2
MULTI_PICTURE, FRAMES = b"MPF\0", 0xB001  # begin of a segment, and tag in it
JPEG_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither an escaped byte nor a restart
DAMAGED_JPEG = re.compile(rb"Corrupt JPEG data[^\r\n]*|Premature end of JPEG[^\r\n]*")
# tags of TIFF that are looked at, and their values where they are absent
SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION = 254, 255, 256, 257, 258, 259
PHOTOMETRIC, CHANNELS, EXTRA_CHANNELS, SAMPLE_FORMAT = 262, 277, 338, 339
DATA_TAGS = (273, 324), (279, 325)  # starts and lengths of strips or tiles
TIFF_DEFAULTS = {
    SUBFILE: 0, OLD_SUBFILE: 1, WIDTH: 0, HEIGHT: 0, BITS: 1, COMPRESSION: 1,
    PHOTOMETRIC: None, CHANNELS: 1, EXTRA_CHANNELS: 2, SAMPLE_FORMAT: 1,
    **dict.fromkeys(sum(DATA_TAGS, ()), ()),
}  # fmt: skip
TIFF_JPEG, TIFF_DEFLATE = (6, 7), (8, 32946)  # compressions
ALPHA = (1, 2)
TIFF_FORMATS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
# name and channels of the photometric interpretations; no channels: it cannot be read
TIFF_COLORS = {
    0: ("grayscale", 1), 1: ("grayscale", 1), 2: ("RGB", 3), 3: ("palette", 1), 5: ("CMYK", 0),
    6: ("YCbCr", 3), 8: ("CIE Lab", 0),
}  # fmt: skip
# Pillow's modes
CONVERTED = {"1": "L", "P": "RGB", "YCbCr": "RGB", "LA": "RGBA", "La": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}
FRAMES_REMEDY = "save one of them as a file of its own"
PAGES_REMEDY = "save one of them, or project them with --set data.projection=max"


def decode(data: bytes, project: bool = False) -> Iterator[np.ndarray]:
    """Yield the pages of an image file; a single one unless `project` allows more.

    Returns
    -------
    iterator of ndarray of shape (H, W), (H, W, 3) or (H, W, 4), uint8
        Grayscale, colour in any order, or colour and alpha.
    """
    if data.startswith(PNG_SIGNATURE):
        return iter([_read_png(data)])
    if data.startswith(JPEG_SIGNATURE):
        return iter([_read_jpeg(data)])
    if data.startswith(TIFF_SIGNATURES):
        return _read_tiff(data, project)
    if data.startswith(b"MM\0+"):  # Pillow cannot read it
        raise ValueError("is a BigTIFF with big-endian numbers: save it as an ordinary TIFF")
    raise ValueError(f"is not a PNG, TIFF or JPEG file: it begins with {data[:8]!r}")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"declares {width} x {height} pixels; {ALLOWED}")


def _check_depth(bits: int, kind: str = "") -> None:
    if bits > 8 or kind:
        raise ValueError(
            f"has {bits} bits per pixel and channel{kind and f' ({kind})'}, expected 8: convert it, with the "
            f"same scaling for all images of a channel"
        )


@contextmanager
def _redirected_errors(descriptor: int) -> Iterator[None]:
    """Redirect what C libraries write to standard error, where it would appear without a file's name.

    Other threads' lines of this moment go there too; nothing else prints while images are decoded.
    """
    saved = os.dup(2)
    try:
        os.dup2(descriptor, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@cache
def _null() -> int:
    """Return a descriptor that discards what is written; a closed standard error becomes another one."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    return descriptor if descriptor > 2 else _null.__wrapped__()


@contextmanager
def _messages() -> Iterator[Callable[[], bytes]]:
    """Yield a function that returns what C libraries have written to standard error in the block."""
    _null()
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)  # what exceeds the pipe is lost; the first messages matter

    def collected() -> bytes:
        try:
            return os.read(reader, 1 << 16)
        except BlockingIOError:  # nothing was written
            return b""

    try:
        with _redirected_errors(writer):
            yield collected
    finally:
        os.close(reader)
        os.close(writer)


def _opencv(data: bytes) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError("is damaged: it cannot be decoded")
    return image


def _check_complaint(messages: bytes) -> None:
    """Raise an error if libjpeg complains about data that it repairs."""
    complaint = DAMAGED_JPEG.search(messages)
    if complaint:
        raise ValueError(f"is damaged: {complaint[0].decode(errors='replace')}")


def _read_png(data: bytes) -> np.ndarray:
    hidden = None
    for kind, start, length in _png_chunks(data):
        if start == len(PNG_SIGNATURE) + 8:
            if kind != b"IHDR" or length != 13:
                raise ValueError("is damaged: it does not begin with its header")
            width, height = (int.from_bytes(data[place : place + 4]) for place in (start, start + 4))
            depth, color = data[start + 8], data[start + 9]
            _check_size(width, height)
            _check_depth(depth)
        elif kind == b"acTL" and (frames := int.from_bytes(data[start : start + 4])) > 1:
            raise ValueError(f"has {frames} frames, expected 1: {FRAMES_REMEDY}")
        elif kind == b"tRNS" and color == PNG_GRAYSCALE:  # OpenCV honours that of the other colour types
            hidden = int.from_bytes(data[start : start + length]) * (255 // (2**depth - 1))
    with _redirected_errors(_null()):
        image = _opencv(data[: start + length + 4])  # bytes after the end belong to something else
    if hidden is not None:
        image[image == hidden] = 0
    return image


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and length of every chunk up to the last, IEND; OpenCV verifies the checksums."""
    start, kind = len(PNG_SIGNATURE) + 8, b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[start - 8 : start - 4]), data[start - 4 : start]
        if start + length + 4 > len(data):
            raise ValueError(f"is truncated ({len(data):,} bytes)")
        if not kind.isalpha():
            raise ValueError(f"is damaged at byte {start - 4:,}")
        yield kind, start, length
        start += length + 12


def _read_jpeg(data: bytes) -> np.ndarray:
    segments = list(_jpeg_segments(data))
    for marker, start in segments:
        if marker == JPEG_APP2 and data.startswith(MULTI_PICTURE, start):
            _check_frames(data[start + len(MULTI_PICTURE) :])
    sizes = [start for marker, start in segments if marker in JPEG_SIZES]
    if not sizes:
        raise ValueError("is damaged: it declares no size")
    start = sizes[0]
    height, width = (int.from_bytes(data[place : place + 2]) for place in (start + 1, start + 3))
    _check_size(width, height)
    _check_depth(data[start])
    if data[start + 5] == 4:
        raise ValueError("is CMYK, expected grayscale or RGB")
    with _messages() as messages:
        image = _opencv(data)
        _check_complaint(messages())
    return image


def _check_frames(index: bytes) -> None:
    """Raise an error if the index of a file in the Multi-Picture Format, a TIFF directory, lists several."""
    with _pillow():
        directory, file = ImageFileDirectory_v2(index[:8]), io.BytesIO(index)
        file.seek(directory.next)
        directory.load(file)
        frames = directory.get(FRAMES, 1)
    if frames > 1:
        raise ValueError(f"has {frames} frames, expected 1: {FRAMES_REMEDY}")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and start of the content of every segment up to the end of the image."""
    place = 2
    while place + 4 < len(data) or data[place : place + 2] == bytes([0xFF, JPEG_END]):
        if data[place] != 0xFF:
            raise ValueError(f"is damaged at byte {place:,}")
        marker, place = data[place + 1], place + 2
        if marker == JPEG_END:
            return
        if marker == 0xFF:  # fill byte
            place -= 1
        elif marker not in JPEG_NO_LENGTH:
            yield marker, place + 2
            place += int.from_bytes(data[place : place + 2])
            if marker == JPEG_SCAN:
                end = JPEG_SCAN_END.search(data, place)
                place = end.start() if end else len(data)
    raise ValueError(f"is truncated ({len(data):,} bytes)")


def _read_tiff(data: bytes, project: bool) -> Iterator[np.ndarray]:
    with _pillow():
        warnings.filterwarnings("error", "Corrupt EXIF data")  # a directory of tags that is truncated
        pages = dict(_tiff_pages(data))
    if not pages:
        raise ValueError("is damaged: it contains no image")
    if len(pages) > 1 and not project:
        raise ValueError(f"has {len(pages)} pages, expected 1: {PAGES_REMEDY}")
    for tags in pages.values():
        _check_tiff(tags)
        if tags[COMPRESSION] in TIFF_DEFLATE:
            _check_deflated(data, tags)
    if any(tags[COMPRESSION] in TIFF_JPEG for tags in pages.values()):
        _check_jpeg_in_tiff(data)
    return (_decode_tiff(data, number) for number in pages)


def _tiff_pages(data: bytes) -> Iterator[tuple[int, dict]]:
    """Yield number and tags of the pages, without thumbnails, smaller copies and masks."""
    file, seen = io.BytesIO(data), []
    directory = ImageFileDirectory_v2(data[: 16 if data[2:3] == b"+" else 8])
    while directory.next and directory.next not in seen:
        seen.append(directory.next)
        file.seek(directory.next)
        directory.load(file)
        tags = {tag: directory.get(tag, default) for tag, default in TIFF_DEFAULTS.items()}
        if not tags[SUBFILE] & 0b101 and tags[OLD_SUBFILE] != 2:
            yield len(seen) - 1, tags


def _check_tiff(tags: dict) -> None:
    if not (tags[WIDTH] and tags[HEIGHT]):
        raise ValueError("is damaged: it declares no size")
    _check_size(tags[WIDTH], tags[HEIGHT])
    _check_depth(max(np.ravel(tags[BITS])), TIFF_FORMATS.get(np.ravel(tags[SAMPLE_FORMAT])[0], ""))
    color, channels = TIFF_COLORS.get(tags[PHOTOMETRIC], (f"colour type {tags[PHOTOMETRIC]}", 0))
    if not channels:
        raise ValueError(f"is {color}, expected grayscale or RGB")
    has_alpha = tags[CHANNELS] == channels + 1 and np.ravel(tags[EXTRA_CHANNELS])[0] in ALPHA
    if tags[CHANNELS] != channels and not has_alpha:
        raise ValueError(
            f"has {tags[CHANNELS]} channels per pixel, expected one (grayscale) or three (RGB): "
            f"save each as a file of its own"
        )


def _check_deflated(data: bytes, tags: dict) -> None:
    """Raise an error if a checksum is wrong, which libtiff does not read once it has all pixels."""
    starts, lengths = (np.ravel([*np.ravel(tags[a]), *np.ravel(tags[b])]).astype(int) for a, b in DATA_TAGS)
    for place, length in zip(starts, lengths, strict=False):
        stream = zlib.decompressobj()
        try:
            stream.decompress(data[place : place + length], 4 * MAX_PIXELS)
        except zlib.error as error:
            raise ValueError(f"is damaged: {error}") from None
        if not stream.eof:
            raise ValueError(f"is truncated ({len(data):,} bytes)")


def _check_jpeg_in_tiff(data: bytes) -> None:
    """Raise an error if libjpeg complains, which Pillow does not notice."""
    with _messages() as messages:
        with suppress(cv2.error):
            cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        _check_complaint(messages())


def _decode_tiff(data: bytes, number: int) -> np.ndarray:
    with _pillow():
        image = TiffImageFile(io.BytesIO(data))
        image.seek(number)
        image.load()
        mode = CONVERTED.get(image.mode, image.mode)
        return np.array(image if mode == image.mode else image.convert(mode))


@contextmanager
def _pillow() -> Iterator[None]:
    """Turn all that Pillow raises into a `ValueError`, and hide its warnings and libtiff's messages."""
    with warnings.catch_warnings(), _messages() as messages:
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:  # of any type, as damaged bytes have any content
            lines = messages().decode(errors="replace").splitlines() or f"{error}".splitlines()
            reason = "".join(c for c in (lines or [""])[0] if c.isprintable())
            raise ValueError(f"is damaged: {reason or type(error).__name__}") from None
