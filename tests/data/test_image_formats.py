"""What PNG, TIFF and JPEG files declare is honoured or rejected, and damage is not repaired."""

import io
import os
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.data import image_formats

PLANE_HW = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8), (0, 0), 2)
GREEN = np.stack([np.zeros(256), np.arange(256) * 257, np.zeros(256)]).astype("<u2").tobytes()


def decode(data, project=False):
    pages = list(image_formats.decode(bytes(data), project))
    assert all(page.dtype == np.uint8 for page in pages)
    return pages if project else pages[0]


def rejected(data, *words):
    with pytest.raises(ValueError) as error:
        decode(data)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert str(error.value).isprintable()


def tiff(image, *, order="<", big=False, pages=1, data=None, **tags):
    """Return a TIFF file of one strip, with further tags or other values: ``t262=0`` is min-is-white."""
    image = np.asarray(image)
    channels = image.shape[2] if image.ndim == 3 else 1
    pixels = image.tobytes() if data is None else data
    short, long, offset_type = (3, "H"), (4, "I"), (16, "Q") if big else (4, "I")
    entries = {
        256: (*long, [image.shape[1]]), 257: (*long, [image.shape[0]]),
        258: (*short, [8 * image.itemsize] * channels), 259: (*short, [1]),
        262: (*short, [2 if channels > 2 else 1]), 273: (*offset_type, [16]), 277: (*short, [channels]),
        278: (*long, [image.shape[0]]), 279: (*long, [len(pixels)]),
    }  # fmt: skip
    for name, values in tags.items():
        entries[int(name[1:])] = (*short, values if isinstance(values, list) else [values])
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + ("HHHQ" if big else "HI"), *(
        (43, 8, 0, 16 + len(pixels)) if big else (42, 16 + len(pixels))
    ))  # fmt: skip
    file = head.ljust(16, b"\0") + pixels
    for page in range(pages):
        rows, extra = b"", b""
        start = len(file)
        size, inline = (20, 8) if big else (12, 4)
        end = start + (8 if big else 2) + size * len(entries) + inline
        for tag, (kind, letter, values) in sorted(entries.items()):
            packed = struct.pack(f"{order}{len(values)}{letter}", *values)
            if len(packed) > inline:
                packed, extra = struct.pack(order + "IQ"[big], end + len(extra)), extra + packed
            rows += struct.pack(order + "HH" + "IQ"[big], tag, kind, len(values)) + packed.ljust(
                inline, b"\0"
            )
        following = end + len(extra) if page + 1 < pages else 0
        file += struct.pack(order + "HQ"[big], len(entries)) + rows
        file += struct.pack(order + "IQ"[big], following) + extra
    return file


def with_pillow(image, kind, mode=None, **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image, mode)).save(file, kind, **options)
    return file.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows, width, depth, color, *chunks, height=None):
    head = struct.pack(">IIBBBBB", width, height or len(rows), depth, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return image_formats.PNG_SIGNATURE + b"".join(chunks)


def jpeg(image=PLANE_HW, **options):
    return with_pillow(image, "jpeg", quality=90, **options)


# what is honoured


@pytest.mark.parametrize(
    "data",
    [
        tiff(PLANE_HW),
        tiff(PLANE_HW, order=">"),
        tiff(PLANE_HW, big=True),
        tiff(255 - PLANE_HW, t262=0),
        tiff(255 - PLANE_HW, order=">", t262=0),
        tiff(PLANE_HW, t259=8, data=zlib.compress(PLANE_HW.tobytes())),
        tiff(255 - PLANE_HW, t262=0, t259=8, data=zlib.compress((255 - PLANE_HW).tobytes())),
        with_pillow(PLANE_HW, "tiff", compression="tiff_lzw"),
        with_pillow(PLANE_HW, "tiff", compression="packbits"),
        with_pillow(PLANE_HW, "tiff", compression="tiff_lzw", tiffinfo={317: 2}),
        with_pillow(PLANE_HW, "png"),
        cv2.imencode(".png", PLANE_HW)[1].tobytes() + b"bytes after the end",
    ],
)
def test_grayscale_is_read_unchanged(data):
    assert np.array_equal(decode(data), PLANE_HW)


@pytest.mark.parametrize(
    "data",
    [
        tiff(np.dstack([0 * PLANE_HW, PLANE_HW, 0 * PLANE_HW])),
        tiff(np.dstack([0 * PLANE_HW, PLANE_HW, 0 * PLANE_HW]), data=b"".join(  # each colour for itself
            plane.tobytes() for plane in (0 * PLANE_HW, PLANE_HW, 0 * PLANE_HW)
        ), t284=2, t273=[16, 16 + PLANE_HW.size, 16 + 2 * PLANE_HW.size], t279=[PLANE_HW.size] * 3),
        tiff(PLANE_HW, t262=3, t320=list(np.frombuffer(GREEN, "<u2"))),
        with_pillow(np.dstack([0 * PLANE_HW, PLANE_HW, 0 * PLANE_HW]), "tiff", compression="tiff_lzw"),
        png([row.tobytes() for row in PLANE_HW], 48, 8, 3, chunk(b"PLTE", bytes(
            value for level in range(256) for value in (0, level, 0)))),
    ],
)  # fmt: skip
def test_colours_and_palettes_are_resolved(data):
    image_HWC = decode(data)
    assert np.array_equal(image_HWC[..., 1], PLANE_HW) and not image_HWC[..., [0, 2]].any()


def test_few_bits_are_expanded():
    rows = [b"\x1b"] * 3
    for depth, expected in ((1, [0, 0, 0, 255]), (2, [0, 85, 170, 255])):
        expected_HW = np.array([expected] * 3)
        assert np.array_equal(decode(png(rows, 4, depth, 0)), expected_HW)
        wide = np.zeros((3, 4), np.uint8)
        assert np.array_equal(decode(tiff(wide, data=b"".join(rows), t258=depth)), expected_HW)
    palette = chunk(b"PLTE", bytes([0, 9, 0, 0, 200, 0]))
    image_HWC = decode(png(rows, 4, 1, 3, palette))
    assert image_HWC[..., 1].tolist() == [[9, 9, 9, 200]] * 3


def test_pixels_hidden_by_a_key_or_by_the_palette_are_transparent():
    rows = [bytes([0, 100, 200, 255])]
    assert decode(png(rows, 4, 8, 0, chunk(b"tRNS", b"\0\x64"))).tolist() == [[0, 0, 200, 255]]
    palette = chunk(b"PLTE", bytes([0, 9, 0, 0, 200, 0])), chunk(b"tRNS", bytes([255, 0]))
    assert decode(png([bytes([0, 1])], 2, 8, 3, *palette))[0, :, 3].tolist() == [255, 0]


def test_a_jpeg_is_what_opencv_decodes():
    color_HWC = np.dstack([0 * PLANE_HW, PLANE_HW, PLANE_HW // 2])
    for data in (jpeg(), jpeg(color_HWC), jpeg(color_HWC, progressive=True), jpeg(restart_marker_blocks=2)):
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(decode(data), expected) and np.array_equal(decode(data + b"more"), expected)


def test_thumbnails_and_smaller_copies_are_no_pages():
    file = io.BytesIO()
    small = Image.fromarray(PLANE_HW[::2, ::2].copy())
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(PLANE_HW).save(file, "tiff", save_all=True, append_images=[small])
    assert np.array_equal(decode(file.getvalue()), PLANE_HW)


def test_pages_are_counted_and_yielded_on_request():
    data = tiff(PLANE_HW, pages=5)
    rejected(data, "5 pages", "expected 1", "data.projection=max")
    assert [page.tolist() for page in decode(data, True)] == [PLANE_HW.tolist()] * 5


# what is rejected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (with_pillow(PLANE_HW.astype(np.uint16), "png"), ["16 bits", "expected 8", "same scaling"]),
        (cv2.imencode(".png", np.zeros((9, 9, 3), np.uint16))[1].tobytes(), ["16 bits"]),
        (tiff(PLANE_HW.astype("<u2")), ["16 bits", "expected 8", "same scaling"]),
        (tiff(PLANE_HW.astype(">u2"), order=">"), ["16 bits"]),
        (tiff(PLANE_HW.astype("<u2"), t258=12), ["12 bits"]),
        (tiff(np.zeros((9, 9, 3), "<u2")), ["16 bits"]),
        (tiff(PLANE_HW, t339=2), ["8 bits", "signed"]),
        (tiff(PLANE_HW.astype("<f4"), t339=3), ["32 bits", "floating-point"]),
        (tiff(PLANE_HW.astype("<f8"), t339=3), ["64 bits", "floating-point"]),
        (tiff(PLANE_HW.astype("<u4")), ["32 bits"]),
        (jpeg().replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"), ["12 bits"]),
        (with_pillow(Image.new("CMYK", (9, 9)), "jpeg"), ["CMYK", "grayscale or RGB"]),
        (with_pillow(Image.new("CMYK", (9, 9)), "tiff"), ["CMYK", "grayscale or RGB"]),
        (with_pillow(Image.new("LAB", (9, 9)), "tiff"), ["Lab", "grayscale or RGB"]),
        (tiff(np.zeros((9, 9, 4), np.uint8), t338=0), ["4 channels", "each as a file"]),
        (tiff(np.zeros((9, 9, 4), np.uint8), t262=1, t338=[0, 0, 0]), ["4 channels", "each as a file"]),
        (tiff(np.zeros((9, 9, 2), np.uint8), t338=0), ["2 channels"]),
        (with_pillow(PLANE_HW, "png", save_all=True, append_images=[Image.new("L", (48, 64))]), ["2 frames"]),
        (with_pillow(PLANE_HW, "mpo", save_all=True, append_images=[Image.new("L", (48, 64))]), ["2 frames"]),
        (tiff(PLANE_HW, order=">", big=True), ["BigTIFF", "ordinary TIFF"]),
        (b"GIF89a" + bytes(20), ["not a PNG, TIFF or JPEG", "GIF89a"]),
        (b"version https://git-lfs", ["not a PNG, TIFF or JPEG"]),
        (bytes(100), ["not a PNG, TIFF or JPEG"]),
        (tiff(PLANE_HW, t254=1), ["contains no image"]),
    ],
)
def test_other_kinds_are_explained(data, words, capfd):
    rejected(data, *words)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (20000, 20000), (10001, 10000)])
def test_a_large_declared_size_is_rejected_before_decoding(monkeypatch, width, height):
    monkeypatch.setattr(cv2, "imdecode", None)
    sizes = f"declares {width} x {height} pixels", f"{image_formats.MAX_PIXELS:,}"
    rejected(png([b""], width, 8, 0, height=height), *sizes)
    rejected(tiff(PLANE_HW, t256=width, t257=height), *sizes)
    declared, larger = struct.pack(">HH", *PLANE_HW.shape), struct.pack(">HH", height, width)
    rejected(jpeg().replace(b"\x08" + declared, b"\x08" + larger, 1), *sizes)


def test_images_of_the_atlas_are_far_below_the_limit():
    assert image_formats.MAX_PIXELS > 4 * 4096**2
    large_HW = np.zeros((3072, 3072), np.uint8)
    assert decode(cv2.imencode(".png", large_HW)[1]).shape == decode(tiff(large_HW)).shape == large_HW.shape


# damage


def middle(data, count):
    half = len(data) // 2
    return data[:half] + bytes(count) + data[half + count :]


@pytest.mark.parametrize(
    "data",
    [
        middle(jpeg(np.tile(PLANE_HW, (8, 8))), 500),
        middle(jpeg(np.tile(PLANE_HW, (8, 8)), progressive=True), 500),
        jpeg()[: len(jpeg()) * 7 // 10] + b"\xff\xd9",
        jpeg()[: len(jpeg()) // 2] + bytes(len(jpeg()) // 2),
        jpeg()[:-2],
        jpeg()[:300],
        middle(with_pillow(PLANE_HW, "tiff", compression="tiff_lzw"), 200),
        middle(with_pillow(PLANE_HW, "tiff", compression="tiff_adobe_deflate"), 20),
        middle(with_pillow(np.tile(PLANE_HW, (8, 8)), "tiff", compression="jpeg"), 500),
        tiff(PLANE_HW)[:500],
        tiff(PLANE_HW)[:-30],
        tiff(PLANE_HW, t279=9 * PLANE_HW.size, t278=2000, t257=2000),
        middle(with_pillow(PLANE_HW, "png"), 4),
        with_pillow(PLANE_HW, "png")[:1000] + bytes(1000),
        with_pillow(PLANE_HW, "png")[:1000] + with_pillow(PLANE_HW, "png")[-12:],
        with_pillow(PLANE_HW, "png")[:-12],
        image_formats.PNG_SIGNATURE + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
    ],
)
def test_damage_is_found_and_libraries_are_silent(data, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"^is (damaged|truncated)"):
            decode(data)
    assert capfd.readouterr() == ("", "")


def test_warnings_of_libraries_are_not_shown(capfd):
    junk = chunk(b"iCCP", b"junk\0\0junk"), chunk(b"gAMA", b"j")
    assert decode(png([b"abcd"], 4, 8, 0, *junk)).tolist() == [[97, 98, 99, 100]]
    assert np.array_equal(decode(tiff(PLANE_HW, t50838=[4, 4], t65000=7)), PLANE_HW)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr() == ("", "afterwards\n")


def test_a_closed_standard_error_does_not_matter():
    image_formats._null.cache_clear()
    saved = os.dup(2)
    os.close(2)
    try:
        assert np.array_equal(decode(with_pillow(PLANE_HW, "png")), PLANE_HW)
        assert decode(jpeg()).shape == PLANE_HW.shape
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@pytest.mark.parametrize("cases", [15, pytest.param(400, marks=pytest.mark.slow)])
def test_random_damage_gives_an_image_or_a_reason(cases, capfd):
    rng = np.random.default_rng(cases)
    color_HWC = np.dstack([PLANE_HW, 0 * PLANE_HW, PLANE_HW])
    whole = [jpeg(), jpeg(color_HWC), tiff(PLANE_HW), tiff(color_HWC, pages=2), tiff(PLANE_HW, big=True)]
    whole += [with_pillow(color_HWC, "tiff", compression=name) for name in ("tiff_lzw", "jpeg", "packbits")]
    whole += [with_pillow(color_HWC, "png"), with_pillow(PLANE_HW, "png"), png([b"\1"] * 4, 4, 2, 0)]
    for data in whole:
        for _ in range(cases):
            spoilt = bytearray(data)
            for place in rng.integers(0, min(len(data), rng.choice([64, len(data)])), rng.integers(1, 9)):
                spoilt[place] = rng.integers(256)
            spoilt = spoilt[: rng.integers(len(data))] if rng.random() < 0.2 else spoilt
            try:
                for page in image_formats.decode(bytes(spoilt), project=True):
                    assert page.dtype == np.uint8 and page.ndim in (2, 3)
            except ValueError as error:
                assert str(error).isprintable()
    assert capfd.readouterr() == ("", "")
