"""The shards of the cached arrays: their two files, how these are verified, and how they are built.

``00000.npy`` holds (rows, H, W, 4) uint8, channel order R G B Y. ``00000.json``, which is written after it,
holds what the rows were built from: fingerprints of the image files, by content (``files``) and by names,
sizes and times (``state``), both with the projection if there is one; the checksum of the array file; the bad
images, whose rows are black; mean and std of each channel of the rows; and a fingerprint of all this, so that
no change to it passes unnoticed.

Verifying a whole cache takes as long as the disk needs to read it. ``verified.json`` therefore holds size,
modification time and change time of every array file whose checksum has been verified, and only files where
they differ are read again. The same is true of the image files.
"""

import time
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lib import files
from lib.data import kaggle
from lib.data.kaggle import BadImage, BadImageError
from lib.data.opencv import single_thread
from lib.errors import UserError
from lib.labels import CHANNELS

BLOCK = 4096  # bytes that are summed up at once
SETTLED = 1.0  # seconds after which a further change is certain to change a file's times too


def array_path(folder: Path, number: int) -> Path:
    """Return the path of the rows of a shard."""
    return folder / f"{number:05d}.npy"


def metadata_path(folder: Path, number: int) -> Path:
    """Return the path of the metadata of a shard."""
    return folder / f"{number:05d}.json"


def read_metadata(folder: Path, number: int) -> dict[str, Any]:
    """Return the metadata of a shard; empty if missing, damaged, edited, or those of another shard."""
    try:
        metadata = files.read_json(metadata_path(folder, number))
    except UserError:
        return {}
    if not isinstance(metadata, dict) or metadata.pop("fingerprint", None) != files.fingerprint(metadata):
        return {}
    return metadata if metadata["shard"] == f"{folder.name}/{number}" else {}


def write_metadata(folder: Path, number: int, metadata: dict[str, Any]) -> None:
    """Write the metadata of a shard."""
    metadata = metadata | {"shard": f"{folder.name}/{number}"}
    content = metadata | {"fingerprint": files.fingerprint(metadata)}
    files.write_json(metadata_path(folder, number), content)


def header(rows: int, size: int) -> bytes:
    """Return the first bytes of the array file of a shard."""
    file, shape = BytesIO(), (rows, size, size, len(CHANNELS))
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def array_bytes(rows: int, size: int) -> int:
    """Return the length of an array file."""
    return len(header(rows, size)) + rows * row_bytes(size)


def row_bytes(size: int) -> int:
    """Return the bytes of an image of `size` pixels."""
    return size * size * len(CHANNELS)


def file_state(path: Path) -> list[int] | None:
    """Return size, modification and change time of a file, or None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns]


def add_checksum(data: bytes | memoryview, value: int = 0) -> int:
    """Return the checksum of data that follow others, whose checksum is `value`.

    It is the CRC-32 of the sums of the 64-bit words in every 4 KiB. A flipped bit, and blocks that are lost,
    zeroed or moved, change it; and it is ten times as fast as the CRC-32 of all bytes, which would add 3 % to
    the time of building the cache.
    """
    words = np.frombuffer(data, np.uint64, len(data) // BLOCK * BLOCK // 8).reshape(-1, BLOCK // 8)
    return zlib.crc32(data[words.nbytes :], zlib.crc32(words.sum(axis=1), value))


def array_checksum(path: Path, rows: int, size: int) -> int | None:
    """Return the checksum of an array file, in the order of `_write`; None if it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            value = add_checksum(file.read(len(header(rows, size))))
            for _ in range(rows):
                value = add_checksum(file.read(row_bytes(size)), value)
    except OSError:
        return None
    return value


def image_checksum(path: Path) -> int | None:
    """Return the checksum of an image file; None if it is none or cannot be read."""
    value = 0
    try:
        if not path.is_file():  # reading a pipe would not end
            return None
        with path.open("rb", buffering=0) as file:
            while data := file.read(256 * BLOCK):
                value = add_checksum(data, value)
    except OSError:
        return None
    return value


def read_verified(folder: Path) -> dict[str, list[int]]:
    """Return, by file name, `file_state` and checksum of the array files that were verified."""
    try:
        verified = files.read_json(folder / "verified.json")
    except UserError:
        return {}
    return verified if isinstance(verified, dict) else {}


def write_verified(folder: Path, verified: dict[str, list[int] | None]) -> None:
    """Write what `read_verified` returns, without the files that have only just been changed."""
    latest = time.time_ns() - int(SETTLED * 1e9)
    settled = {name: state for name, state in verified.items() if state and state[2] < latest}
    files.write_json(folder / "verified.json", dict(sorted(settled.items())))


@dataclass(frozen=True)
class Shard:
    """One shard at some sizes, so that its images are decoded once.

    Attributes
    ----------
    source : Path
        Folder in Kaggle's layout.
    subset : str
        train or test.
    ids : tuple of str
        Samples of its rows.
    number : int
    folders : dict of Path
        Folder of the array by size in pixels.
    projection : str
        Of files with several pages (`image_files.PROJECTIONS`).
    forced : frozenset of int
        Sizes at which it is to be built in any case.
    verified : dict of list, or None
        By size, what `read_verified` holds for it; None where it is not verified or has to be built.
    """

    source: Path
    subset: str
    ids: tuple[str, ...]
    number: int
    folders: dict[int, Path]
    projection: str = "none"
    forced: frozenset[int] = frozenset()
    verified: dict[int, list[int] | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def name(self) -> str:
        """Name of the array file."""
        return array_path(Path(), self.number).name

    def at(self, sizes: Iterable[int]) -> "Shard":
        """Return the shard at some of its sizes."""
        return replace(self, folders={size: self.folders[size] for size in sizes})

    def missing(self) -> list[int]:
        """Return the sizes at which it has to be built, once it has been verified."""
        return [size for size in self.folders if self.verified.get(size) is None]

    def has_array(self, size: int, state: list[int] | None) -> bool:
        """Return whether an array file with this `file_state` is as long as it must be."""
        return state is not None and state[0] == array_bytes(len(self), size)

    def doubts(self) -> dict[int, bool]:
        """Return the sizes that may have to be built, without reading images or arrays.

        Returns
        -------
        dict of bool
            By size; True: it certainly has to be built, False: `check` finds out.
        """
        found, now = {}, ""
        for size, folder in self.folders.items():
            metadata, array = read_metadata(folder, self.number), file_state(folder / self.name)
            if size in self.forced or not metadata or not self.has_array(size, array):
                found[size] = True
                continue
            now = now or self.state()
            if (
                metadata["state"] != now
                or metadata["bad"]  # they may be readable now
                or self.verified.get(size) != [*array, metadata["checksum"]]
            ):
                found[size] = False
        return found

    def state(self) -> str:
        """Return a fingerprint of names, sizes, modification and change times of the image files."""
        paths = (self._image(sample, channel) for sample in self.ids for channel in CHANNELS)
        return self.fingerprint([(path.name, file_state(path)) for path in paths])

    def fingerprint(self, images: list) -> str:
        """Return a fingerprint of what is known of the image files, and of how they are projected."""
        return files.fingerprint(images if self.projection == "none" else [images, self.projection])

    def images(self, sample: str) -> list[tuple[str, int | None]]:
        """Return names and checksums of the image files of a sample."""
        paths = (self._image(sample, channel) for channel in CHANNELS)
        return [(path.name, image_checksum(path)) for path in paths]

    def _image(self, sample: str, channel: str) -> Path:
        return kaggle.image_path(self.source, self.subset, sample, channel)

    def read(self, sample: str) -> tuple[np.ndarray, list[BadImage]]:
        """Return a sample, (H, W, 4) uint8, and its bad images; where there are any, one black pixel."""
        try:
            return kaggle.read_image(self.source, self.subset, sample, self.projection), []
        except BadImageError as error:
            return np.zeros((1, 1, len(CHANNELS)), np.uint8), error.args[0]

    def bad(self) -> list[BadImage]:
        """Return the bad images that were found when the shard was built."""
        metadata = read_metadata(next(iter(self.folders.values())), self.number)
        return [BadImage(**image) for image in metadata["bad"]]


def check(shard: Shard) -> Shard:
    """Verify a shard: its arrays by their checksums, and that its images are those it was built from.

    Returns
    -------
    Shard
        The same, with `verified`.
    """
    with single_thread():
        now, content, found = "", "", {}
        for size, folder in shard.folders.items():
            metadata, array, found[size] = read_metadata(folder, shard.number), folder / shard.name, None
            present = file_state(array)
            if size in shard.forced or not metadata or not shard.has_array(size, present):
                continue
            verified = [*present, metadata["checksum"]]
            unchanged = verified == shard.verified.get(size)
            if not unchanged and array_checksum(array, len(shard), size) != metadata["checksum"]:
                continue
            now = now or shard.state()
            if metadata["state"] != now:
                content = content or shard.fingerprint([shard.images(sample) for sample in shard.ids])
                if content != metadata["files"]:
                    continue
            samples = dict.fromkeys(image["id"] for image in metadata["bad"])
            if [asdict(image) for sample in samples for image in shard.read(sample)[1]] != metadata["bad"]:
                continue
            if metadata["state"] != now:
                write_metadata(folder, shard.number, metadata | {"state": now})
            found[size] = verified
    return replace(shard, verified=found)


def build(shard: Shard) -> Shard:
    """Build a shard at the sizes where `check` finds that it has to be; memory use is that of one image.

    Returns
    -------
    Shard
        The same, with `verified`.
    """
    with single_thread(), ExitStack() as stack:
        for folder in sorted(shard.folders.values()):
            stack.enter_context(files.waiting_lock(folder / f".{shard.number:05d}.lock"))
        checked = check(shard)  # another process may have built it while this one waited
        missing = checked.at(checked.missing())
        written = _write(missing) if missing.folders else {}
        return replace(checked, verified=checked.verified | written)


def _write(shard: Shard) -> dict[int, list[int] | None]:
    # before any is read: images that change in the meantime are looked at again
    state, images, bad = shard.state(), [], []
    moments: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {size: [] for size in shard.folders}
    writers, checksums = {}, {}
    with ExitStack() as stack:
        for size, folder in shard.folders.items():
            start = header(len(shard), size)
            part = stack.enter_context(files.write_atomic(folder / shard.name))
            writers[size] = stack.enter_context(part.open("wb"))
            writers[size].write(start)
            checksums[size] = add_checksum(start)
        for sample in shard.ids:
            images.append(shard.images(sample))
            image_HWK, unusable = shard.read(sample)
            bad += unusable
            for size, writer in writers.items():
                resized_HWK = resize(image_HWK, size)
                writer.write(resized_HWK.data)
                checksums[size] = add_checksum(resized_HWK.ravel().data, checksums[size])
                moments[size].append(cv2.meanStdDev(resized_HWK))
    found = {}
    for size, folder in shard.folders.items():
        metadata = {
            "files": shard.fingerprint(images),
            "state": state,
            "checksum": checksums[size],
            "bad": [asdict(image) for image in bad],
            "mean": [mean.ravel().round(4).tolist() for mean, _ in moments[size]],
            "std": [std.ravel().round(4).tolist() for _, std in moments[size]],
        }
        write_metadata(folder, shard.number, metadata)
        found[size] = [*file_state(folder / shard.name), checksums[size]]
    return found


def resize(image_HWK: np.ndarray, size: int) -> np.ndarray:
    """Resize an (H, W, K) uint8 image to (size, size, K): area averaging; linear to enlarge."""
    height, width = image_HWK.shape[:2]
    if (height, width) == (size, size):
        return image_HWK
    if max(height, width) > size:
        image_HWK = cv2.resize(image_HWK, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    # INTER_AREA would repeat pixels
    return cv2.resize(image_HWK, (size, size), interpolation=cv2.INTER_LINEAR)
