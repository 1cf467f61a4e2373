"""Predictors and their prediction tables: what a predictor is, and the probabilities it gives to samples.

``predictions/<predictor>/`` holds ``predictor.json`` and a table for each subset, ``<subset>.npz``.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from lib import files
from lib.errors import UserError, quote
from lib.labels import CLASSES
from lib.names import check_name
from lib.stage_files import damaged, read_arrays

# end of the name of a predictor or table, by number of views: 1, or 8 with test-time augmentation
SUFFIXES = {1: "", 8: "_tta"}
REQUIRED = {  # by kind: the attributes that must not be empty
    "network": ("network",),
    "trees": ("network",),
    "hierarchy": ("routing", "stage_1"),
    "ensemble": ("members", "method"),
    "external": ("files",),
    "merged": ("runs",),
}
REPEATS = 4  # of a sample with weight 1, where weights are realised by repeating samples
KINDS = tuple(REQUIRED)
ROUTING = ("hard", "soft")
METHODS = ("mean", "rank_mean", "weighted")
OTHER = "other"  # name of the output of a stage 2 network for samples without a label of its group
# first words of the reserved names of networks and predictors that stage 02 does not create
SCRIPTS = {"ensemble": "04_threshold.py"} | dict.fromkeys(("hierarchy", "joint", "stage"), "03_train_hier.py")


def creator(folder: Path) -> str:
    """Return the script that creates a predictor or network, by its folder or that of one of its folds.

    Only the advice in error messages depends on it, where the files that describe it may be damaged.
    """
    name = folder.parent.name if folder.name.startswith("fold_") else folder.name
    return SCRIPTS.get(name.split("_")[0], "02_train_cnn.py")


@dataclass(frozen=True)
class Predictor:
    """What a predictor is made of: the content of ``predictor.json``.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    network : str
        network and trees: the folder in ``networks/``.
    views : int
        network and hierarchy: 1, or 8 with test-time augmentation.
    crops : int
        network and hierarchy: the crops that it predicts in all views; 0: the whole image.
    combine : str
        network and hierarchy: max, if its probabilities are the maximum over crops and views; empty: the
        mean.
    routing : str
        hierarchy: hard or soft.
    stage_1 : str
        hierarchy: the network that predicts the groups.
    stage_2 : dict of str
        hierarchy: the network of each group that has one.
    hierarchy : str
        hierarchy: its name in the preset; empty: the one of the section hierarchy.
    veto : dict of float
        hierarchy: by group, the probability of "other" above which the group's labels are removed.
    members : dict of float
        ensemble: weights by predictor.
    method : str
        ensemble: as the setting ``ensemble.method``.
    files : list of str
        external: where the probabilities were read from.
    runs : list of str
        merged: the runs whose predictors of this name are averaged.
    """

    kind: str
    network: str = ""
    views: int = 1
    crops: int = 0
    combine: str = ""
    routing: str = ""
    stage_1: str = ""
    stage_2: dict[str, str] = field(default_factory=dict)
    hierarchy: str = ""
    veto: dict[str, float] = field(default_factory=dict)
    members: dict[str, float] = field(default_factory=dict)
    method: str = ""
    files: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, known in (
            ("kind", KINDS), ("views", SUFFIXES), ("combine", ("", "max")), ("routing", ("", *ROUTING)),
            ("method", ("", *METHODS)),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                expected = " ".join(map(str, filter(None, known)))
                raise UserError(f"{name} of a predictor {getattr(self, name)!r}: expected one of {expected}")
        if self.crops < 0 or (self.crops and self.views == 1):
            raise UserError(f"crops of a predictor {self.crops}: expected 0, or more with 8 views")
        for name in REQUIRED[self.kind]:
            if not getattr(self, name):
                raise UserError(f"a predictor of the kind {self.kind} needs {name}")
        names = (self.network, self.stage_1, *self.stage_2.values(), *self.members, *self.runs)
        for name in filter(None, names):  # each names a folder
            check_name(name, "network, predictor or run")
        if not all(0 <= threshold <= 1 for threshold in self.veto.values()):
            raise UserError(f"veto {self.veto}: expected thresholds from 0 to 1")
        if not all(0 <= weight < 1.001 for weight in self.members.values()):  # they were rounded
            raise UserError(f"members {self.members}: expected weights from 0 to 1")

    def write(self, folder: Path) -> None:
        """Write ``predictor.json`` into a predictor's folder."""
        content = {key: value for key, value in asdict(self).items() if value or key == "kind"}
        files.write_json(folder / "predictor.json", content)

    @classmethod
    def read(cls, folder: Path) -> "Predictor":
        """Read ``predictor.json``; a `UserError` if it is missing or has other content."""
        return files.read_json(folder / "predictor.json", creator(folder), cls)


@dataclass(frozen=True)
class PredictionTable:
    """Probabilities of all classes for samples by id.

    Attributes
    ----------
    ids : list of str, length N
    probabilities_NC : ndarray of shape (N, 28), float32, in [0, 1]
        In Kaggle's class order; of a hierarchy's stage 1, its groups or their combinations instead.
    known_C : ndarray of shape (28,), bool
        The classes that the predictor can predict; for the others the probability is 0. Default: all.
    source : tuple of (Path, str), or None
        The file that it was read from, and the script that writes that file.
    other_N : ndarray of shape (N,), float32, in [0, 1], or None
        Of a stage 2 network with the output `OTHER`: its probability.
    """

    ids: list[str]
    probabilities_NC: np.ndarray
    known_C: np.ndarray | None = None
    source: tuple[Path, str] | None = None
    other_N: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.known_C is None:
            object.__setattr__(self, "known_C", np.ones(self.probabilities_NC.shape[1], bool))

    def select(self, ids: list[str], what: str) -> np.ndarray:
        """Return probabilities_NC of the given ids in their order; as for `rows`."""
        return self.probabilities_NC[self.rows(ids, what)]

    def rows(self, ids: list[str], what: str) -> list[int]:
        """Return the rows of the given ids in their order.

        Parameters
        ----------
        what : str
            Names the ids in the error.

        Raises
        ------
        UserError
            If the table lacks one of the ids.
        """
        row_of = {sample: row for row, sample in enumerate(self.ids)}
        missing = [sample for sample in ids if sample not in row_of]
        if missing:
            lacking = f"no prediction for {len(missing):,} of the {len(ids):,} ids of {what}, for example "
            lacking += missing[0]
            raise damaged(self.source[0], lacking, self.source[1]) if self.source else UserError(lacking)
        return [row_of[sample] for sample in ids]


@dataclass(frozen=True)
class LabelledPredictions:
    """Labels and probabilities of the same samples in the same order.

    Attributes
    ----------
    truth_NC : ndarray of shape (N, C), bool
    probabilities_NC : ndarray of shape (N, C), float, in [0, 1]
    allowed_NC : ndarray of shape (N, C), bool, or None
        Which labels a hierarchy's stage 1 admits, as `thresholds.final_decisions` takes it.
    group_N : ndarray of shape (N,), int, or None
        Group of related samples of each; None: all are independent.
    weight_N : ndarray of shape (N,), float, or None
        Weights that give the samples the mixture of the test set, with a mean of 1; None: not known.
    """

    truth_NC: np.ndarray
    probabilities_NC: np.ndarray
    allowed_NC: np.ndarray | None = None
    group_N: np.ndarray | None = None
    weight_N: np.ndarray | None = None

    def rows(self, rows: np.ndarray) -> "LabelledPredictions":
        """Return those of some samples, by row number or mask."""
        arrays = (getattr(self, item.name) for item in fields(self))
        return LabelledPredictions(*(None if array is None else array[rows] for array in arrays))

    def in_test_mixture(self) -> "LabelledPredictions":
        """Return samples repeated in proportion to their weights, `REPEATS` times on average.

        The fractions are carried over to the following samples, so that the sums are right.
        """
        ends_N = np.rint(np.cumsum(self.weight_N) * REPEATS).astype(int)
        return self.rows(np.repeat(np.arange(len(ends_N)), np.diff(ends_N, prepend=0)))


def from_outputs(
    ids: list[str], probabilities_NO: np.ndarray, classes: list[int] | None, outputs: Sequence[str] = ()
) -> PredictionTable:
    """Return the table of a network's outputs.

    Parameters
    ----------
    probabilities_NO : ndarray of shape (N, O), float
    classes : list of int or None
        Class numbers of the first outputs; the other classes get 0. None: the outputs are not classes, and
        the table holds them as they are.
    outputs : sequence of str
        Names of all outputs. Of those after the classes, `OTHER` is kept where it is the only one.
    """
    if classes is None:
        return PredictionTable(ids, probabilities_NO)
    probabilities_NC = np.zeros((len(probabilities_NO), len(CLASSES)), dtype=np.float32)
    probabilities_NC[:, classes] = probabilities_NO[:, : len(classes)]
    other_N = probabilities_NO[:, -1] if [*outputs[len(classes) :]] == [OTHER] else None
    return PredictionTable(ids, probabilities_NC, np.isin(np.arange(len(CLASSES)), classes), other_N=other_N)


def average(tables: list[PredictionTable], ids: list[str], what: str) -> PredictionTable:
    """Return the mean of the tables for each sample, over the tables that contain it.

    The validation predictions of folds, each of its own samples, are thereby concatenated; predictions of the
    same samples by several networks are averaged.

    Parameters
    ----------
    what : str
        Names the samples in the error where no table contains one of the ids.
    """
    row_of = {sample: row for row, sample in enumerate(ids)}
    has_other = all(table.other_N is not None for table in tables)
    columns = tables[0].probabilities_NC.shape[1]
    sum_NC, count_N = np.zeros((len(ids), columns + has_other)), np.zeros(len(ids))
    for table in tables:
        values_NC = table.probabilities_NC
        values_NC = np.column_stack([values_NC, table.other_N]) if has_other else values_NC
        known = [row for row, sample in enumerate(table.ids) if sample in row_of]
        rows = [row_of[table.ids[row]] for row in known]
        sum_NC[rows] += values_NC[known]
        count_N[rows] += 1
    if not count_N.all():
        raise UserError(
            f"no prediction for {ids[int(count_N.argmin())]} of {what}: run stages 02 and 03 again"
        )
    known_C = np.all([table.known_C for table in tables], axis=0)
    mean_NC = (sum_NC / count_N[:, None]).astype(np.float32)
    return PredictionTable(
        ids, mean_NC[:, :columns], known_C, other_N=mean_NC[:, columns] if has_other else None
    )


def save(path: Path, table: PredictionTable) -> None:
    """Write a prediction table (npz: ids, probabilities, known, and other where there is that output)."""
    probabilities_NC = table.probabilities_NC.astype(np.float32)
    more = {} if table.other_N is None else {"other": table.other_N.astype(np.float32)}
    with files.write_atomic(path) as part, part.open("wb") as file:
        np.savez(file, ids=np.array(table.ids), probabilities=probabilities_NC, known=table.known_C, **more)


def load(path: Path, columns: int = len(CLASSES), script: str = "", other: bool = False) -> PredictionTable:
    """Read and check a prediction table.

    Parameters
    ----------
    columns : int
        Number of probabilities per sample.
    script : str
        The script that creates it; by default that of the predictor or network in whose folder it lies.
    other : bool
        Whether it must contain the output `OTHER`.

    Raises
    ------
    UserError
        If the file is missing or is not a prediction table: shapes, types, duplicate ids, or values that are
        not probabilities.
    """
    script = script or creator(path.parent)
    with files.reading(path, script):
        arrays = read_arrays(path, ("ids", "probabilities", "known", OTHER))
        for name in ("ids", "probabilities", *[OTHER] * other):
            if name not in arrays:
                raise ValueError(f"it has no {name}")
        table = _checked(arrays["ids"], arrays["probabilities"], arrays.get("known"), columns)
        if OTHER in arrays:  # one column of the same form
            _checked(arrays["ids"], arrays[OTHER].reshape(-1, 1), None, 1)
    return replace(table, source=(path, script), other_N=arrays.get(OTHER))


def _checked(
    ids: np.ndarray, probabilities_NC: np.ndarray, known_C: np.ndarray | None, columns: int
) -> PredictionTable:
    """Return a table of arrays from a file; a `ValueError` with the first problem."""
    expected = (len(ids) if ids.ndim == 1 else 0, columns)
    if ids.ndim != 1 or ids.dtype.kind != "U":
        raise ValueError(f"ids have shape {ids.shape} and type {ids.dtype}, expected a list of text")
    if probabilities_NC.shape != expected or probabilities_NC.dtype.kind != "f":
        found = f"shape {probabilities_NC.shape} and type {probabilities_NC.dtype}"
        raise ValueError(f"probabilities have {found}, expected {expected} and float32")
    if known_C is not None and (known_C.shape != (columns,) or known_C.dtype != bool):
        raise ValueError(f"known has shape {known_C.shape} and type {known_C.dtype}, expected {columns} bool")
    listed = ids.tolist()
    if len(set(listed)) < len(listed):
        raise ValueError("it lists an id twice")
    valid_NC = (probabilities_NC >= 0) & (probabilities_NC <= 1)
    if not valid_NC.all():
        row = int(np.flatnonzero(~valid_NC.all(axis=1))[0])
        raise ValueError(f"id {quote(listed[row])}: a value is not a probability in [0, 1]")
    return PredictionTable(listed, np.ascontiguousarray(probabilities_NC, np.float32), known_C)


def table_path(network: Path, subset: str, views: int) -> Path:
    """Return the path of predictions in a network's folder: of one fold, or of a hierarchy's network."""
    return network / f"{subset}{SUFFIXES[views]}.npz"


def table_paths(folder: Path, subsets: list[str]) -> dict[str, Path]:
    """Return the tables of a predictor by subset; only that of the training samples may be missing.

    Parameters
    ----------
    folder : Path
        ``outputs/<run>/predictions/<predictor>``.
    subsets : list of str
        Labelled subsets, and ``test``.
    """
    paths = {subset: folder / f"{subset}.npz" for subset in subsets}
    return {
        subset: files.require(path, creator(folder))
        for subset, path in paths.items()
        if subset != "train" or path.exists()
    }


def remove_outdated(folders: Iterable[Path], is_own: Callable[[Predictor], bool]) -> None:
    """Remove the predictors among some folders that are of a kind that its author no longer writes.

    Else results of earlier settings would be evaluated, and might be submitted.

    Parameters
    ----------
    is_own : callable
        Takes a `Predictor`, and returns whether the caller had written it.
    """
    for folder in folders:
        if (folder / "predictor.json").exists() and is_own(Predictor.read(folder)):
            shutil.rmtree(folder)


def list_predictors(folder: Path) -> list[str]:
    """Return the names of the predictors in a run's ``predictions/``, sorted."""
    files.require(folder, "02_train_cnn.py")
    names = sorted(path.parent.name for path in folder.glob("*/validation.npz"))
    if not names:
        raise UserError(f"{folder} holds no validation.npz: run `python 02_train_cnn.py` first")
    return names
