"""The cache: every image decoded and resized once, in shards that are memory-mapped.

``data/cache/<dataset>/{train,test}_<size>/00000.npy`` holds (rows, H, W, 4) uint8, channel order R G B Y,
with rows in the order of ``train.csv`` or ``sample_submission.csv``. The metadata of a shard lie beside it in
``00000.json``, which is written after it: a fingerprint of the image files that it was built from, mean and
std of each channel of its rows, and its bad images, whose rows are black. A shard is complete if its
fingerprint is that of the present image files; otherwise it is built again. Thus a killed run resumes where
it stopped, fixed images rebuild only their shard, and several processes or machines can fill one cache.
"""

import random
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from lib import files, parallel
from lib.console import Progress, format_bytes
from lib.data import kaggle
from lib.data.kaggle import BadImage, BadImageError
from lib.data.opencv import single_thread
from lib.errors import UserError
from lib.labels import CHANNELS
from lib.steps import Manifest, Step

SMALLER_SIZES = (384, 256, 224, 128, 64)  # suggested where the disk is too small


class ShardedArray:
    """One cached array; its shards are memory-mapped on first access, so that memory use stays flat.

    Parameters
    ----------
    folder : Path
        For example ``data/cache/demo/train_128``.

    Raises
    ------
    UserError
        If the array is missing or incomplete.
    """

    def __init__(self, folder: Path) -> None:
        settings = Manifest.read(folder / "array.json", "00_prepare.py").settings
        self.folder = folder
        self.rows: int = settings["rows"]
        self.size: int = settings["size"]
        self.shard_rows: int = settings["data.shard_rows"]
        self._shards = -(-self.rows // self.shard_rows)
        self._maps: dict[int, np.ndarray] = {}
        # not by the manifest, which is unfinished while another process verifies the shards
        if not all(_metadata_path(folder, number).exists() for number in range(self._shards)):
            raise UserError(f"{folder} is incomplete: run `python 00_prepare.py` again")

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> np.ndarray:
        """Return one image of shape (H, W, 4), uint8, R G B Y: a read-only view of the file."""
        if not 0 <= row < self.rows:
            raise IndexError(row)
        number, offset = divmod(int(row), self.shard_rows)
        if number not in self._maps:
            path = files.require(_array_path(self.folder, number), "00_prepare.py")
            self._maps[number] = np.load(path, mmap_mode="r")
        return self._maps[number][offset]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_maps": {}}  # the receiving process maps the files itself

    def fingerprint(self) -> str:
        """Return a fingerprint of the image files that the rows were built from."""
        return files.fingerprint([metadata["files"] for metadata in self._metadata()])

    def shards(self) -> list[tuple[range, str]]:
        """Return the rows of each shard and the fingerprint of the image files they were built from."""
        starts = range(0, self.rows, self.shard_rows)
        rows = [range(start, min(start + self.shard_rows, self.rows)) for start in starts]
        return [(rows, metadata["files"]) for rows, metadata in zip(rows, self._metadata(), strict=True)]

    def channel_statistics(self, rows: np.ndarray) -> dict[str, list[float]]:
        """Return mean and standard deviation of all pixels of the given rows, per channel.

        Parameters
        ----------
        rows : ndarray of int
            Row numbers.

        Returns
        -------
        dict of list of 4 float
            ``mean`` and ``std`` in grey levels 0-255, channel order R G B Y.
        """
        mean_NK, std_NK = (moment_NK[rows] for moment_NK in self.moments())
        mean_K = mean_NK.mean(axis=0)
        # all images have the same number of pixels, so the overall mean square is the mean of theirs
        variance_K = (std_NK**2 + mean_NK**2).mean(axis=0) - mean_K**2
        return {"mean": mean_K.round(4).tolist(), "std": np.sqrt(variance_K).round(4).tolist()}

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each image, shape (N, 4), grey levels 0-255, R G B Y."""
        shards = self._metadata()
        mean_NK, std_NK = (np.concatenate([shard[key] for shard in shards]) for key in ("mean", "std"))
        return mean_NK, std_NK

    def _metadata(self) -> list[dict]:
        return [
            files.read_json(_metadata_path(self.folder, number), "00_prepare.py")
            for number in range(self._shards)
        ]


@dataclass(frozen=True)
class Shard:
    """One shard at all sizes, so that its images are decoded once.

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
        Of files with several pages (`image_files.read_plane`).
    """

    source: Path
    subset: str
    ids: tuple[str, ...]
    number: int
    folders: dict[int, Path]
    projection: str = "none"

    def __len__(self) -> int:
        return len(self.ids)

    def missing(self, fingerprint: str) -> dict[int, Path]:
        """Return the folders, by size, where the shard is incomplete for this `fingerprint` of its images."""
        return {
            size: folder
            for size, folder in self.folders.items()
            if self.metadata(folder).get("files") != fingerprint
        }

    def metadata(self, folder: Path) -> dict:
        """Return the shard's metadata in the array's folder; empty if it has not been built."""
        path = _metadata_path(folder, self.number)
        return files.read_json(path, "00_prepare.py") if path.exists() else {}

    def fingerprint(self) -> str:
        """Return a fingerprint of the image files: names, sizes and modification times."""
        states: list = []
        for sample in self.ids:
            for channel in CHANNELS:
                path = kaggle.image_path(self.source, self.subset, sample, channel)
                try:
                    state = path.stat()
                    states.append((path.name, state.st_size, state.st_mtime_ns))
                except OSError:
                    states.append((path.name, None, None))
        return files.fingerprint(states)

    def bad(self) -> list[BadImage]:
        """Return the bad images that were found when the shard was built."""
        return [BadImage(**image) for image in self.metadata(next(iter(self.folders.values())))["bad"]]


def build(
    source: Path,
    cache: Path,
    subset: str,
    ids: list[str],
    sizes: tuple[int, ...],
    shard_rows: int,
    workers: int,
    force: bool = False,
    projection: str = "none",
) -> list[BadImage]:
    """Decode, resize and cache all images of a subset at all sizes; only incomplete shards are built.

    Parameters
    ----------
    source : Path
        Folder in Kaggle's layout.
    cache : Path
        Folder of the dataset's cache.
    subset : str
        train or test.
    ids : list of str, length N
        Row order of the arrays.
    force : bool
        Replace arrays of a different source or different settings, instead of raising.
    projection : str
        Of files with several pages (`image_files.read_plane`).

    Returns
    -------
    list of BadImage
        Every file that cannot be used, in the order of `ids`; the rows of their samples are black.

    Raises
    ------
    UserError
        If the disk is too small (raised before the first shard), or existing arrays have a different source
        or different settings.
    """
    folders = {size: cache / f"{subset}_{size}" for size in sizes}
    steps = [_step(source, folder, size, ids, shard_rows, projection) for size, folder in folders.items()]
    for step in steps:
        if step.manifest.exists() and not step.matches(force):
            shutil.rmtree(step.manifest.parent)
    shards = [
        Shard(source, subset, tuple(ids[start : start + shard_rows]), number, folders, projection)
        for number, start in enumerate(range(0, len(ids), shard_rows))
    ]
    missing = {shard.number: shard.missing(shard.fingerprint()) for shard in shards}
    incomplete = [shard for shard in shards if missing[shard.number]]
    needed = sum(len(shard) * _row_bytes(size) for shard in incomplete for size in missing[shard.number])
    _check_disk_space(files.make_folder(cache), len(ids), sizes, needed)
    if incomplete or not all(step.finished() for step in steps):
        for step in steps:
            step.start()
        random.shuffle(incomplete)  # so that two processes that fill one cache rarely wait for each other
        label = f"{subset} arrays of {', '.join(map(str, sizes))} px"
        with Progress(len(ids), label, "samples", done=len(ids) - sum(map(len, incomplete))) as progress:
            for _ in parallel.run(build_shard, incomplete, workers, progress):
                pass
        for step in steps:
            step.finish()
    for folder in folders.values():
        for lock in folder.glob(".*.lock"):
            lock.unlink(missing_ok=True)
    return [image for shard in shards for image in shard.bad()]


def build_shard(shard: Shard) -> None:
    """Build one shard at the sizes where it is incomplete; memory use is that of one image."""
    lock = next(iter(shard.folders.values())) / f".{shard.number:05d}.lock"
    with single_thread(), files.waiting_lock(lock):
        # before any is read: images that change in the meantime leave the shard incomplete
        fingerprint = shard.fingerprint()
        missing = shard.missing(fingerprint)
        if missing:
            _write_shard(shard, missing, fingerprint)


def _write_shard(shard: Shard, folders: dict[int, Path], fingerprint: str) -> None:
    bad: list[BadImage] = []
    moments: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {size: [] for size in folders}
    with ExitStack() as stack:
        writers = {}
        for size, folder in folders.items():
            part = stack.enter_context(files.write_atomic(_array_path(folder, shard.number)))
            writers[size] = stack.enter_context(part.open("wb"))
            header = {
                "descr": "|u1",
                "fortran_order": False,
                "shape": (len(shard), size, size, len(CHANNELS)),
            }
            np.lib.format.write_array_header_1_0(writers[size], header)
        for sample in shard.ids:
            try:
                image_HWK = kaggle.read_image(shard.source, shard.subset, sample, shard.projection)
            except BadImageError as error:
                bad += error.args[0]
                image_HWK = np.zeros((1, 1, len(CHANNELS)), np.uint8)
            for size, writer in writers.items():
                resized_HWK = resize(image_HWK, size)
                writer.write(resized_HWK.data)
                moments[size].append(cv2.meanStdDev(resized_HWK))
    for size, folder in folders.items():
        metadata = {
            "files": fingerprint,
            "bad": [asdict(image) for image in bad],
            "mean": [mean.ravel().round(4).tolist() for mean, _ in moments[size]],
            "std": [std.ravel().round(4).tolist() for _, std in moments[size]],
        }
        files.write_json(_metadata_path(folder, shard.number), metadata)


def resize(image_HWK: np.ndarray, size: int) -> np.ndarray:
    """Resize an (H, W, K) uint8 image to (size, size, K): area averaging; linear to enlarge."""
    if image_HWK.shape[:2] == (size, size):
        return image_HWK
    return cv2.resize(image_HWK, (size, size), interpolation=cv2.INTER_AREA)


def _step(source: Path, folder: Path, size: int, ids: list[str], shard_rows: int, projection: str) -> Step:
    return Step(
        name="array",
        manifest=folder / "array.json",
        settings={
            "source": str(source.resolve()),
            "size": size,
            "rows": len(ids),
            "data.shard_rows": shard_rows,
        }
        | ({"data.projection": projection} if projection != "none" else {}),
        inputs={"list of ids": files.fingerprint(ids)},
        outputs=[],
        alternative="--work FOLDER uses another cache",
    )


def _array_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"


def _metadata_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.json"


def _row_bytes(size: int) -> int:
    return size * size * len(CHANNELS)


def _check_disk_space(cache: Path, rows: int, sizes: tuple[int, ...], needed: int) -> None:
    free = shutil.disk_usage(cache).free
    if needed <= free:
        return
    fitting = [size for size in SMALLER_SIZES if rows * _row_bytes(size) <= free and size < max(sizes)]
    smaller = f"--set data.sizes={fitting[0]} training.size={fitting[0]} fits, or " if fitting else ""
    raise UserError(
        f"{cache}: arrays with data.sizes={','.join(map(str, sizes))} need {format_bytes(needed)} more, "
        f"but only {format_bytes(free)} are free: {smaller}choose a larger disk with --work FOLDER"
    )
