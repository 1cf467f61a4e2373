"""What two images of the same cells have in common: a perceptual hash per channel, and a small thumbnail.

The hash of a channel is the signs of the 64 lowest frequencies of its discrete cosine transform, without the
constant one. It changes in few bits where an image is brighter, noisier or slightly shifted, and differs in
about 32 from that of other cells. Turning the image only changes signs and exchanges bits (`signs`).
"""

import cv2
import numpy as np

CHANNELS = ("red", "green", "blue")  # without yellow, as in the tables of duplicates that others published
SIZE, HASHED_SIZE = 64, 32  # pixels of a thumbnail, and of the plane that is transformed
BITS = 64  # of the hash of a channel
MAX_SHIFT = 6  # pixels of a thumbnail, 9 % of the side
ORIENTATIONS = 8  # four rotations, and those of the mirror image
FLAT = 1e-4  # grey levels within which a channel has no structure; float32's rounding is below that


def _lowest_frequencies() -> np.ndarray:
    """Return the frequencies of a hash, shape (BITS, 2): vertical and horizontal; closed under exchange."""
    frequencies = np.indices((16, 16)).reshape(2, -1).T
    order = np.lexsort((abs(np.diff(frequencies)[:, 0]), (frequencies**2).sum(axis=1)))
    return frequencies[order[1 : BITS + 1]]


FREQUENCIES = _lowest_frequencies()


def thumbnail(image_HWK: np.ndarray) -> np.ndarray:
    """Reduce an image to what duplicates are compared by.

    Parameters
    ----------
    image_HWK : ndarray of shape (H, W, 4 or 3), uint8
        Channels red, green, blue, and any more.

    Returns
    -------
    ndarray of shape (3, SIZE, SIZE), uint8
        Each channel stretched to 0-255; 0 where it has no structure.
    """
    small_KHW = np.zeros((len(CHANNELS), SIZE, SIZE), np.uint8)
    for channel in range(len(CHANNELS)):
        # as float32: the grey levels of a faint channel are few
        plane_HW = cv2.extractChannel(image_HWK, channel).astype(np.float32)
        plane_HW = cv2.resize(plane_HW, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        if plane_HW.max() - plane_HW.min() >= FLAT:
            small_KHW[channel] = cv2.normalize(np.sqrt(plane_HW), None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    return small_KHW


def hash_thumbnail(thumbnail_KHW: np.ndarray) -> np.ndarray:
    """Return the perceptual hash of each channel of a thumbnail, shape (3,), uint64; 0 without structure."""
    bits = np.zeros((len(CHANNELS), BITS), np.uint8)
    for channel, plane_HW in enumerate(thumbnail_KHW):
        if plane_HW.any():
            reduced_HW = cv2.resize(
                plane_HW.astype(np.float32), (HASHED_SIZE, HASHED_SIZE), interpolation=cv2.INTER_AREA
            )
            bits[channel] = cv2.dct(reduced_HW)[tuple(FREQUENCIES.T)] > 0
    return np.packbits(bits, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64)


def signs(hashes: np.ndarray, orientation: int = 0) -> np.ndarray:
    """Write the bits of hashes as -1 and 1, so that products of rows count equal minus different bits.

    Parameters
    ----------
    hashes : ndarray of shape (N, 3), uint64
    orientation : int, 0 to 7
        Return those of the image after `orient`.

    Returns
    -------
    ndarray of shape (N, 3 * BITS), float32
        0 for a channel without structure.
    """
    octets = np.ascontiguousarray(hashes, "<u8").view(np.uint8)
    bits = np.unpackbits(octets, axis=1, bitorder="little").reshape(-1, len(CHANNELS), BITS)
    signs_NKb = bits.astype(np.float32) * 2 - 1
    signs_NKb[hashes == 0] = 0
    if orientation:
        vertical, horizontal = FREQUENCIES.T
        if orientation & 4:
            place = {(u, v): bit for bit, (u, v) in enumerate(FREQUENCIES.tolist())}
            signs_NKb = signs_NKb[..., [place[v, u] for u, v in FREQUENCIES.tolist()]]
        odd = (orientation >> 1 & 1) * vertical + (orientation & 1) * horizontal
        signs_NKb *= np.where(odd % 2, -1, 1).astype(np.float32)  # a mirrored cosine of odd frequency
    return signs_NKb.reshape(len(hashes), len(CHANNELS) * BITS)


def orient(planes_KHW: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image of shape (K, H, W): transposed if bit 2 is set, then upside down (1) and mirrored (0)."""
    if orientation & 4:
        planes_KHW = planes_KHW.transpose(0, 2, 1)
    return planes_KHW[:, :: -1 if orientation & 2 else 1, :: -1 if orientation & 1 else 1]


def correlation(first_KHW: np.ndarray, second_KHW: np.ndarray) -> float:
    """Return how well two thumbnails agree after the best shift: -1 to 1.

    It is the second highest of the three channels' correlation coefficients at the shift where their sum is
    highest, over the part of the first thumbnail that lies in the second one after any shift.
    """
    inside = slice(MAX_SHIFT, SIZE - MAX_SHIFT)
    maps = np.zeros((len(CHANNELS), 2 * MAX_SHIFT + 1, 2 * MAX_SHIFT + 1), np.float32)
    for channel, (first_HW, second_HW) in enumerate(zip(first_KHW, second_KHW, strict=True)):
        part_HW = first_HW[inside, inside]
        if part_HW.min() < part_HW.max() and second_HW.any():  # else there is none
            maps[channel] = cv2.matchTemplate(
                np.ascontiguousarray(second_HW), np.ascontiguousarray(part_HW), cv2.TM_CCOEFF_NORMED
            )
    best = maps.sum(axis=0).argmax()
    return float(np.sort(maps.reshape(len(CHANNELS), -1)[:, best])[1])
