"""The features of all samples: measured shard by shard from the cached arrays, collected in one table.

``data/cache/<dataset>/features_<size>_<denoise>_<segmentation>_<columns>/`` holds two kinds of files:

- ``features.csv``: id and features, one row per sample in the order of ``index.csv``; an empty field is an
  undefined value;
- ``train_00000_<fingerprint>.csv`` and so on: the features of one shard of an array. The fingerprint covers
  the shard's image files and the names of the features.

A shard is finished when its file exists. A killed run therefore resumes at the first missing shard, replaced
images affect only their own shard, an added feature is measured, and several processes or machines can share
the work.
"""

import copy
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lib import files, parallel
from lib.console import Progress
from lib.data import opencv
from lib.data.cache import ShardedArray
from lib.data.sample_index import SampleIndex
from lib.errors import quote
from lib.features.additional import COLUMNS
from lib.features.biological import measure
from lib.sections import Features
from lib.stage_files import parse_numbers, rewrite

FLOAT_FORMAT = "%.7g"
SCRIPT = "01_features.py"  # writes these files


@dataclass(frozen=True)
class FeatureShard:
    """One shard of an array whose features are measured together.

    Parameters
    ----------
    array : ShardedArray
        The array that the shard belongs to.
    rows : range
        Rows of the array.
    settings : Features
        Denoising, segmentation and columns.
    path : Path
        CSV file of the shard's features.
    """

    array: ShardedArray
    rows: range
    settings: Features
    path: Path

    def __len__(self) -> int:
        return len(self.rows)


def build(
    arrays: dict[str, ShardedArray],
    index: SampleIndex,
    folder: Path,
    settings: Features,
    workers: int,
    force: bool,
) -> pd.DataFrame:
    """Measure the features that are still missing and write ``features.csv``.

    Parameters
    ----------
    arrays : dict of ShardedArray
        The arrays ``train`` and ``test``, both of one size.
    index : SampleIndex
        Samples of both arrays, in the order of their rows.
    folder : Path
        Folder of the feature files for these settings.
    settings : Features
    workers : int
        Number of processes; the values do not depend on it.
    force : bool
        Measure all features again.

    Returns
    -------
    DataFrame
        As returned by `read`.
    """
    shards = feature_shards(arrays, folder, settings)
    _remove_outdated(files.make_folder(folder), set() if force else {shard.path for shard in shards})
    missing = [shard for shard in shards if not shard.path.exists()]
    total = sum(map(len, shards))
    with Progress(total, "features", "samples", done=total - sum(map(len, missing))) as progress:
        for _ in parallel.run(measure_shard, missing, workers, progress):
            pass
    table = pd.concat((_read_shard(shard) for shard in shards), ignore_index=True)
    table.insert(0, "id", index.train_ids + index.test_ids)
    path = folder / "features.csv"
    files.write_text(path, table.to_csv(index=False, float_format=FLOAT_FORMAT))
    return read(path, index)


def feature_shards(arrays: dict[str, ShardedArray], folder: Path, settings: Features) -> list[FeatureShard]:
    """Return the shards of the arrays, measured or not; parameters as in `build`."""
    names, shards = list(COLUMNS[settings.columns]), []
    for subset, array in arrays.items():
        for number, (rows, images) in enumerate(array.shards()):
            state = files.fingerprint([images, names])
            shards.append(FeatureShard(array, rows, settings, folder / f"{subset}_{number:05d}_{state}.csv"))
    return shards


def measure_shard(shard: FeatureShard) -> None:
    """Measure the features of one shard and write its file; one image at a time is in memory."""
    settings = shard.settings
    functions = COLUMNS[settings.columns]
    array = copy.copy(shard.array)  # a copy maps only this shard, and releases it at the end
    with opencv.single_thread():
        values = [
            measure(array[row], settings.denoise, functions, settings.segmentation) for row in shard.rows
        ]
    table = pd.DataFrame(values, columns=list(functions))
    files.write_text(shard.path, table.to_csv(index=False, float_format=FLOAT_FORMAT))


def read(path: Path, index: SampleIndex, columns: str = "all") -> pd.DataFrame:
    """Read ``features.csv``.

    Parameters
    ----------
    path : Path
    index : SampleIndex
        Samples that the file must contain, in this order.
    columns : str
        ``ten`` for the paper's ten features, ``all`` for all columns of the file.

    Returns
    -------
    DataFrame
        One column per feature, float64, and one row per sample of the index, labelled samples first, with
        the ids as its index; nan where a feature is undefined.

    Raises
    ------
    UserError
        If the file is missing, is not a table of numbers, or has different ids than the index.
    """
    with files.reading(path, SCRIPT):
        table = _read_cells(path, ["id", *COLUMNS["ten"]])
        ids = table.pop("id").tolist()
        _check_ids(ids, index.train_ids + index.test_ids)
        numbers = _numbers(table[list(COLUMNS["ten"])] if columns == "ten" else table)
        return numbers.set_index(pd.Index(ids, name="id"))


def select(table: pd.DataFrame, names: list[str], network: Path) -> pd.DataFrame:
    """Return the features that a network takes, in its order; a `UserError` if the table lacks one.

    Parameters
    ----------
    table : DataFrame
        As `read` returns it.
    network : Path
        Folder of the network, whose ``model.json`` lists them.
    """
    lacking = [name for name in names if name not in table]
    if lacking:
        raise files.damaged(network / "model.json", f"the run has no feature {lacking[0]}", "02_train_cnn.py")
    return table[names]


def _read_shard(shard: FeatureShard) -> pd.DataFrame:
    """Read the features of a shard."""
    with files.reading(shard.path, SCRIPT):
        names = list(COLUMNS[shard.settings.columns])
        table = _read_cells(shard.path, names)
        if len(table) != len(shard) or list(table) != names:
            raise ValueError(f"it has {len(table)} rows, expected {len(shard)} of {len(names)} features")
        return _numbers(table)


def _read_cells(path: Path, names: list[str]) -> pd.DataFrame:
    """Read a CSV file, of numbers except for the ids; the index holds line numbers."""
    content = path.read_bytes()
    header, _, rows = content.partition(b"\n")
    regular = content.endswith(b"\n") and rows.count(b",") == header.count(b",") * rows.count(b"\n")
    if regular and set(names) <= set(header.decode().split(",")):
        # every cell as text would take seconds and 0.6 GB for 100,000 samples
        options = {"dtype": {"id": str}, "keep_default_na": False, "na_values": ""}
        return pd.read_csv(io.BytesIO(content), **options).rename(index=lambda row: row + 2)
    return files.read_table(path, rewrite(SCRIPT), names)


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    text = {name: cells for name, cells in table.items() if not pd.api.types.is_numeric_dtype(cells)}
    return table.assign(**{name: parse_numbers(cells.fillna("")) for name, cells in text.items()}).astype(
        np.float64
    )


def _remove_outdated(folder: Path, current: set[Path]) -> None:
    """Remove the files of all shards except the current ones."""
    for path in folder.glob("t*_*_*.csv"):
        if path not in current:
            path.unlink(missing_ok=True)


def _check_ids(ids: list[str], expected: list[str]) -> None:
    if ids == expected:
        return
    known = set(expected)
    unknown = next((sample for sample in ids if sample not in known), None)
    problem = "it lacks ids of, or is ordered differently from, index.csv"
    raise ValueError(problem if unknown is None else f"the id {quote(unknown)} is not in index.csv")
