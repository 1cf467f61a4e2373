"""The features of all samples: measured shard by shard from the cached arrays, kept in one table.

``data/cache/<dataset>/features_<size>_<denoise>_<columns>/`` holds ``features.csv`` (id and the
features, a row for each sample in the order of ``index.csv``; an empty field is a value that cannot be
said) and ``train_00000_<fingerprint>.csv`` and so on, the rows of one shard of an array each. The
fingerprint is that of the shard's image files and of the features' names: a shard's file is there or not,
so a killed run goes on where it was, mended images change only their shard, a feature more is measured,
and several processes or machines can share the work.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib import files, parallel
from lib.config import Features
from lib.console import Progress
from lib.data.cache import ShardedArray
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.features.additional import COLUMNS
from lib.features.biological import measure

DIGITS = "%.7g"


@dataclass(frozen=True)
class Task:
    """The rows of one shard, to be measured."""

    array: ShardedArray
    rows: range
    settings: Features
    path: Path

    def __len__(self) -> int:
        return len(self.rows)


def build(
    arrays: dict[str, ShardedArray], index: Index, folder: Path, settings: Features, workers: int, force: bool
) -> pd.DataFrame:
    """Measure what is not measured yet and write ``features.csv``.

    Parameters
    ----------
    arrays : dict of ShardedArray
        The arrays ``train`` and ``test``, of one size.
    folder : Path
        Where the files of these settings lie.
    force : bool
        Measure everything again.

    Returns
    -------
    DataFrame
        As `read` returns it.
    """
    files.make_folder(folder)
    tasks = all_tasks(arrays, folder, settings)
    wanted = {task.path.name for task in tasks}
    for path in folder.glob("t*_*_*.csv"):
        if force or path.name not in wanted:
            path.unlink(missing_ok=True)
    waiting = [task for task in tasks if not task.path.exists()]
    total = sum(map(len, tasks))
    with Progress(total, "features", "samples", done=total - sum(map(len, waiting))) as progress:
        for _ in parallel.run(measure_shard, waiting, workers, progress):
            pass
    table = pd.concat((pd.read_csv(task.path) for task in tasks), ignore_index=True)
    table.insert(0, "id", index.train_ids + index.test_ids)
    path = folder / "features.csv"
    files.write_text(path, table.to_csv(index=False, float_format=DIGITS))
    return read(path, index)


def all_tasks(arrays: dict[str, ShardedArray], folder: Path, settings: Features) -> list[Task]:
    """Return the shards of the arrays; arguments as of `build`."""
    names, tasks = list(COLUMNS[settings.columns]), []
    for subset, array in arrays.items():
        for number, (rows, images) in enumerate(array.shards()):
            state = files.fingerprint([images, names])
            tasks.append(Task(array, rows, settings, folder / f"{subset}_{number:05d}_{state}.csv"))
    return tasks


def measure_shard(task: Task) -> None:
    """Measure the rows of one shard and write its file; memory is that of one image."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        functions = COLUMNS[task.settings.columns]
        array = copy.copy(task.array)  # one that maps only this shard, and lets go of it at the end
        values = [measure(array[row], task.settings.denoise, functions) for row in task.rows]
    finally:
        cv2.setNumThreads(threads)
    table = pd.DataFrame(values, columns=list(functions))
    files.write_text(task.path, table.to_csv(index=False, float_format=DIGITS))


def read(path: Path, index: Index, columns: str = "all") -> pd.DataFrame:
    """Read ``features.csv``; of its columns, ten or all that are there.

    Returns
    -------
    DataFrame
        A column a feature, float64, and a row a sample of the index, labelled ones first, by id; nan
        where a value cannot be said.

    Raises
    ------
    UserError
        If the file is missing, is no table of numbers, or has other ids than the index.
    """
    files.require(path, "01_features.py")
    try:
        table = pd.read_csv(path, dtype={"id": str}).set_index("id").astype(np.float64)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} is no table of id and features ({error}): run 01_features.py --force"
        ) from None
    ids = index.train_ids + index.test_ids
    if list(table.index) != ids:
        known = set(ids)
        strange = next((sample for sample in table.index if sample not in known), None)
        what = (
            f"holds the id {strange}, which" if strange else "lacks ids, or has others in another order, that"
        )
        raise UserError(f"{path} {what} index.csv does not expect: run 01_features.py --force")
    return table[list(COLUMNS["ten"])] if columns == "ten" else table
