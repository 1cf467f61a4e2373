"""The cache: every image once decoded and resized, in shards that are read without copying.

``data/cache/<dataset>/{train,test}_<size>/00000.npy`` holds (rows, H, W, 4) uint8, channel order
R G B Y, rows in the order of ``train.csv`` or ``sample_submission.csv``. Beside each shard lies
``00000.json``, written after it: a fingerprint of the image files that it was made from, the
channel moments of its rows, and its bad images, whose rows are black. A shard whose fingerprint
fits is done; any other is made again. So a killed run goes on where it was, mended images change
only their shard, and several processes or machines can fill one cache.
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
from lib.errors import UserError
from lib.labels import CHANNELS

SMALLER_SIZES = (384, 256, 224, 128, 64)  # offered where the disk is too small


class ShardedArray:
    """The rows of one cached array, mapped from its shards when asked for, so memory stays flat.

    Parameters
    ----------
    folder : Path
        For example ``data/cache/demo/train_128``.

    Raises
    ------
    UserError
        If the array is not there or not complete.
    """

    def __init__(self, folder: Path) -> None:
        about = files.read_json(files.require(folder / "array.json", "00_prepare.py"))
        self.folder = folder
        self.rows: int = about["settings"]["rows"]
        self.size: int = about["settings"]["size"]
        self.shard_rows: int = about["settings"]["data.shard_rows"]
        self._shards = -(-self.rows // self.shard_rows)
        self._maps: dict[int, np.ndarray] = {}
        # the shards themselves are asked: another process may just be looking them through
        if not all(_about_path(folder, number).exists() for number in range(self._shards)):
            raise UserError(f"{folder} is not complete: run `python 00_prepare.py` again")

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> np.ndarray:
        """Return one image, shape (H, W, 4), uint8, R G B Y: a read-only view of the file."""
        if not 0 <= row < self.rows:
            raise IndexError(row)
        number, offset = divmod(int(row), self.shard_rows)
        if number not in self._maps:
            path = files.require(_array_path(self.folder, number), "00_prepare.py")
            self._maps[number] = np.load(path, mmap_mode="r")
        return self._maps[number][offset]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_maps": {}}  # another process maps the files itself

    def fingerprint(self) -> str:
        """Return a fingerprint of the rows, by the files that they were made from."""
        return files.fingerprint([about["files"] for about in self._abouts()])

    def shards(self) -> list[tuple[range, str]]:
        """Return the rows of each shard and the fingerprint of the files that they were made from."""
        starts = range(0, self.rows, self.shard_rows)
        rows = [range(start, min(start + self.shard_rows, self.rows)) for start in starts]
        return [(rows, about["files"]) for rows, about in zip(rows, self._abouts(), strict=True)]

    def channel_statistics(self, rows: np.ndarray) -> dict[str, list[float]]:
        """Return mean and standard deviation of all pixels of the given rows, channel by channel.

        Returns
        -------
        dict of list of 4 float
            ``mean`` and ``deviation`` in grey levels 0-255, channel order R G B Y.
        """
        abouts = self._abouts()
        mean_NK, deviation_NK = (
            np.concatenate([about[key] for about in abouts])[rows] for key in ("mean", "deviation")
        )
        mean_K = mean_NK.mean(axis=0)
        # all images have the same number of pixels: the mean square is the mean of theirs
        variance_K = (deviation_NK**2 + mean_NK**2).mean(axis=0) - mean_K**2
        return {"mean": mean_K.round(4).tolist(), "deviation": np.sqrt(variance_K).round(4).tolist()}

    def _abouts(self) -> list[dict]:
        return [files.read_json(_about_path(self.folder, number)) for number in range(self._shards)]


@dataclass(frozen=True)
class Shard:
    """One shard at every wanted size, so that its images are decoded once."""

    source: Path
    subset: str
    ids: tuple[str, ...]
    number: int
    folders: dict[int, Path]  # size -> folder of the array

    def __len__(self) -> int:
        return len(self.ids)

    def missing(self, state: str) -> dict[int, Path]:
        """Return the sizes, with their folders, that are not done for image files of this fingerprint."""
        return {
            size: folder for size, folder in self.folders.items() if self.about(folder).get("files") != state
        }

    def about(self, folder: Path) -> dict:
        """Return what the shard's json in the array's folder holds; empty without one."""
        path = _about_path(folder, self.number)
        return files.read_json(path) if path.exists() else {}

    def files(self) -> str:
        """Return a fingerprint of the image files: names, bytes, times of change."""
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
        """Return the bad images that were found when the shard was made."""
        return [BadImage(**image) for image in self.about(next(iter(self.folders.values())))["bad"]]


def build(
    source: Path,
    cache: Path,
    subset: str,
    ids: list[str],
    sizes: tuple[int, ...],
    shard_rows: int,
    workers: int,
    force: bool = False,
) -> list[BadImage]:
    """Decode, resize and cache all images of a subset at all sizes, as far as it is not done.

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
        Replace arrays made from another folder or with other settings, instead of refusing.

    Returns
    -------
    list of BadImage
        Every file that cannot be used, in the order of `ids`; its sample's row is black.

    Raises
    ------
    UserError
        If the disk is too small (said before the first shard), or the arrays there differ in
        settings or source.
    """
    folders = {size: cache / f"{subset}_{size}" for size in sizes}
    steps = [_step(source, folder, size, ids, shard_rows) for size, folder in folders.items()]
    for step in steps:
        if step.manifest.exists() and not step.matches(force):
            shutil.rmtree(step.manifest.parent)
    shards = [
        Shard(source, subset, tuple(ids[start : start + shard_rows]), number, folders)
        for number, start in enumerate(range(0, len(ids), shard_rows))
    ]
    missing = {shard.number: shard.missing(shard.files()) for shard in shards}
    waiting = [shard for shard in shards if missing[shard.number]]
    needed = sum(len(shard) * _row_bytes(size) for shard in waiting for size in missing[shard.number])
    _refuse_small_disk(files.make_folder(cache), len(ids), sizes, needed)
    if waiting or not all(step.finished() for step in steps):
        for step in steps:
            step.start()
        random.shuffle(waiting)  # so that two processes at the same cache rarely wait for each other
        label = f"{subset} arrays of {', '.join(map(str, sizes))} px"
        with Progress(len(ids), label, "samples", done=len(ids) - sum(map(len, waiting))) as progress:
            for _ in parallel.run(build_shard, waiting, workers, progress):
                pass
        for step in steps:
            step.finish()
    for folder in folders.values():
        for lock in folder.glob(".*.lock"):
            lock.unlink(missing_ok=True)
    return [image for shard in shards for image in shard.bad()]


def build_shard(shard: Shard) -> None:
    """Make one shard at the sizes that it lacks; memory is that of one image."""
    cv2.setNumThreads(1)  # the processes already share the cores
    with files.waiting_lock(next(iter(shard.folders.values())) / f".{shard.number:05d}.lock"):
        state = shard.files()  # before any is read: images changed meanwhile make the shard not done
        missing = shard.missing(state)
        if missing:
            _write_shard(shard, missing, state)


def _write_shard(shard: Shard, folders: dict[int, Path], state: str) -> None:
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
                image_HWK = kaggle.read_image(shard.source, shard.subset, sample)
            except BadImageError as error:
                bad += error.args[0]
                image_HWK = np.zeros((1, 1, len(CHANNELS)), np.uint8)
            for size, writer in writers.items():
                resized_HWK = resize(image_HWK, size)
                writer.write(resized_HWK.data)
                moments[size].append(cv2.meanStdDev(resized_HWK))
    for size, folder in folders.items():
        about = {
            "files": state,
            "bad": [asdict(image) for image in bad],
            "mean": [mean.ravel().round(4).tolist() for mean, _ in moments[size]],
            "deviation": [deviation.ravel().round(4).tolist() for _, deviation in moments[size]],
        }
        files.write_json(_about_path(folder, shard.number), about)


def resize(image_HWK: np.ndarray, size: int) -> np.ndarray:
    """Resize to size x size by area averaging (linear where it grows); uint8, channels as given."""
    if image_HWK.shape[:2] == (size, size):
        return image_HWK
    return cv2.resize(image_HWK, (size, size), interpolation=cv2.INTER_AREA)


def _step(source: Path, folder: Path, size: int, ids: list[str], shard_rows: int) -> files.Step:
    return files.Step(
        name="array",
        manifest=folder / "array.json",
        settings={
            "source": str(source.resolve()),
            "size": size,
            "rows": len(ids),
            "data.shard_rows": shard_rows,
        },
        inputs={"list of ids": files.fingerprint(ids)},
        outputs=[],
        other_way="--work FOLDER makes another cache",
    )


def _array_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"


def _about_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.json"


def _row_bytes(size: int) -> int:
    return size * size * len(CHANNELS)


def _refuse_small_disk(cache: Path, rows: int, sizes: tuple[int, ...], needed: int) -> None:
    free = shutil.disk_usage(cache).free
    if needed <= free:
        return
    fitting = [size for size in SMALLER_SIZES if rows * _row_bytes(size) <= free and size < max(sizes)]
    smaller = f"--set data.sizes={fitting[0]} training.size={fitting[0]} would fit, or " if fitting else ""
    raise UserError(
        f"{cache}: arrays with data.sizes={','.join(map(str, sizes))} need {format_bytes(needed)} more, "
        f"{format_bytes(free)} are free: {smaller}name a larger disk with --work FOLDER"
    )
