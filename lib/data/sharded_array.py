"""Reading a cached array: verified when it is opened, locked while it is used, mapped shard by shard."""

import contextlib
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lib import files
from lib.console import Progress
from lib.data import array_locks, shards
from lib.errors import UserError

REMEDY = "run `python 00_prepare.py` again, with the options of this run"


class ShardedArray:
    """One cached array; its shards are memory-mapped on first access, so that memory use stays flat.

    The array is verified when it is opened, and then locked: no other process replaces it as long as this
    object, or a process that was forked from its own, exists.

    Parameters
    ----------
    folder : Path
        For example ``data/cache/demo/train_128``.
    ids : list of str, or None
        The samples that its rows must be; None: any.

    Raises
    ------
    UserError
        If the array is missing, incomplete, damaged, being written, or of other samples.
    """

    _opened: ClassVar[weakref.WeakSet["ShardedArray"]] = weakref.WeakSet()

    def __init__(self, folder: Path, ids: list[str] | None = None) -> None:
        self.folder = folder
        manifest = files.require(folder / "array.json", "00_prepare.py")
        with ExitStack() as lock:
            lock.enter_context(array_locks.hold(folder, "readers"))
            described = read_manifest(manifest)
            if not described:
                raise UserError(f"{manifest} is damaged: {REMEDY}")
            self.rows, self.size, self.shard_rows, known_ids = described
            if ids is not None and known_ids != files.fingerprint(ids):
                raise UserError(f"{folder} has other samples than index.csv: {REMEDY}")
            self._shards = -(-self.rows // self.shard_rows)
            self._maps: dict[int, np.ndarray] = {}
            # not by the manifest, which is unfinished while another process builds what is missing
            metadata = self._metadata()
            self._files = [shard["files"] for shard in metadata]
            self._states = self._verify([shard["checksum"] for shard in metadata])
            self._lock: ExitStack | None = lock.pop_all()
        weakref.finalize(self, self._lock.close)
        self._opened.add(self)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> np.ndarray:
        """Return one image of shape (H, W, 4), uint8, R G B Y: a read-only view of the file."""
        if not 0 <= row < self.rows:
            raise IndexError(row)
        number, offset = divmod(int(row), self.shard_rows)
        if number not in self._maps:
            path = files.require(shards.array_path(self.folder, number), "00_prepare.py")
            # links change the third, the change time
            if shards.file_state(path)[:2] != self._states[number][:2]:
                raise UserError(f"{path} was changed after it had been verified: {REMEDY}")
            self._maps[number] = np.load(path, mmap_mode="r")
        return self._maps[number][offset]

    def __getstate__(self) -> dict:
        # the receiving process maps the files itself, while this one holds the lock
        return self.__dict__ | {"_maps": {}, "_lock": None}

    @classmethod
    def unlock(cls, folder: Path) -> None:
        """Release the locks of this process on an array, so that the process itself may replace it."""
        for array in list(cls._opened):
            if array._lock and array.folder == folder:
                array._lock.close()

    def fingerprint(self) -> str:
        """Return a fingerprint of the image files that the rows were built from, by content."""
        return files.fingerprint(self._files)

    def shards(self) -> list[tuple[range, str]]:
        """Return the rows of each shard and the fingerprint of the image files they were built from."""
        return [(self._rows(number), content) for number, content in enumerate(self._files)]

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

    def _rows(self, number: int) -> range:
        start = number * self.shard_rows
        return range(start, min(start + self.shard_rows, self.rows))

    def _metadata(self) -> list[dict[str, Any]]:
        found = [shards.read_metadata(self.folder, number) for number in range(self._shards)]
        if not all(found):
            path = shards.metadata_path(self.folder, found.index({}))
            problem = "damaged" if path.exists() else "missing"
            raise UserError(f"{self.folder} is incomplete, {path.name} is {problem}: {REMEDY}")
        return found

    def _verify(self, checksums: list[int]) -> list[list[int]]:
        """Verify every array file: its length, and where it changed its checksum; return their states."""
        verified, states, changed = shards.read_verified(self.folder), [], []
        for number, expected in enumerate(checksums):
            path = shards.array_path(self.folder, number)
            state, length = shards.file_state(path), shards.array_bytes(len(self._rows(number)), self.size)
            if state is None:
                raise UserError(f"{path} is missing: {REMEDY}")
            if state[0] != length:
                raise UserError(f"{path} has {state[0]:,} bytes, expected {length:,}: {REMEDY}")
            states.append([*state, expected])
            if verified.get(path.name) != states[-1]:
                changed.append(number)
        if changed:
            with Progress(len(changed), f"verifying {self.folder.name}", "shards") as progress:
                for number in changed:
                    path = shards.array_path(self.folder, number)
                    found = shards.array_checksum(path, len(self._rows(number)), self.size)
                    if found != checksums[number]:
                        raise UserError(f"{path} is damaged, its checksum differs: {REMEDY}")
                    progress.update()
            names = (shards.array_path(self.folder, number).name for number in range(self._shards))
            with contextlib.suppress(UserError):  # the cache may be read-only
                shards.write_verified(self.folder, dict(zip(names, states, strict=True)))
        return states


def read_manifest(manifest: Path) -> tuple[int, int, int, str] | None:
    """Return rows, size, rows per shard, and the fingerprint of the ids of an array; None if damaged.

    Parameters
    ----------
    manifest : Path
        The array's ``array.json``.
    """
    try:
        content = files.read_json(manifest)
        settings, ids, _ = content["settings"], content["inputs"]["list of ids"], content["finished"]
        rows, size, shard_rows = (settings.pop(key) for key in ("rows", "size", "data.shard_rows"))
        settings.pop("data.projection", None)  # of some arrays only
    except (UserError, KeyError, TypeError, AttributeError):
        return None
    whole = all(type(number) is int for number in (rows, size, shard_rows)) and rows >= 0 < size
    return (rows, size, shard_rows, ids) if whole and shard_rows > 0 and not settings else None
