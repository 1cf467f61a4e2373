"""Groups of related samples: fields of view of one antibody, and duplicates of an image.

Their images resemble each other and carry the same labels, so a score is honest only if no group has members
in two subsets. ``sample_groups.csv`` (columns id, group, reason) lies in the run's folder; groups are the
connected components of everything that links samples.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lib import files, tables
from lib.console import info, warn
from lib.data import duplicate_pairs
from lib.data.sample_index import SampleIndex
from lib.errors import UserError, quote
from lib.run import Run
from lib.stage_files import parse_numbers, rewrite

# ids of the Human Protein Atlas: antibody, plate, well, field of view
ATLAS_ID = re.compile(r"(?P<antibody>\d+)_\w+_[A-P]\d{1,2}_\d+")
SCRIPT = "00_prepare.py"  # writes the table
LARGE_GROUP, LARGE_COUNT = 0.01, 20  # share and number of samples above which a group is suspicious


def antibodies(ids: Iterable[str]) -> dict[str, str]:
    """Return the antibody of every sample whose id reveals it, by id.

    >>> antibodies(["4109_24_H11_1", "00070df0-bbc3-11e8-b2bc-ac1f6b6435d0"])
    {'4109_24_H11_1': '4109'}
    """
    matches = ((sample, ATLAS_ID.fullmatch(sample)) for sample in ids)
    return {sample: match["antibody"] for sample, match in matches if match}


def read_groups(path: Path, columns: tuple[str, str] = ("id", "group")) -> dict[str, str]:
    """Read a table of groups: the group of every sample that it lists, by id; spaces around both are removed.

    Parameters
    ----------
    columns : tuple of (str, str)
        Names of the columns with the id and the group; a row whose group is empty is ignored.

    Raises
    ------
    UserError
        If the table cannot be read, lacks a column or lists an id twice.
    """
    expected = f"expected the columns {','.join(columns)}"
    table = files.read_table(path, expected, columns)[list(columns)].map(str.strip)
    tables.lines_by_id(path, table[columns[0]])
    return {sample: group for _, sample, group in table.itertuples() if group}


def read_own(run: Run) -> dict[str, str]:
    """Return the groups in the table of ``data.groups``, empty without one; raises as `read_groups`."""
    path = run.config.data.groups
    return read_groups(Path(path)) if path else {}


def check_own(run: Run, index: SampleIndex) -> None:
    """Warn if the table of ``data.groups`` has ids that are no samples, or raise if it has no others."""
    path, listed, ids = run.config.data.groups, read_own(run), index.train_ids + index.test_ids
    if path and not listed:
        raise UserError(f"{path} has no groups: expected the columns id,group and a row for each sample")
    known = set(ids)
    unknown = [sample for sample in listed if sample not in known]
    if not unknown:
        return
    if len(unknown) == len(listed):
        raise UserError(
            f"{path}: none of its {len(listed):,} ids is in the data set, for example {quote(unknown[0])}; "
            f"expected ids like {quote(ids[0])}: write them as in train.csv and sample_submission.csv"
        )
    warn(
        f"{path}: {len(unknown):,} of {len(listed):,} ids are not in the data set and therefore ignored, for "
        f"example {quote(unknown[0])}"
    )


def sources(run: Run) -> list[Path]:
    """Return the tables that groups are read from."""
    paths = [run.duplicates] if run.duplicates.exists() else []  # none without images
    paths += [Path(run.config.data.groups)] if run.config.data.groups else []
    return paths + ([run.solution] if run.is_simulated and run.solution.exists() else [])


def write(run: Run, index: SampleIndex) -> np.ndarray:
    """Group a run's samples by everything that is known of them, and write ``sample_groups.csv``.

    Returns
    -------
    ndarray of shape (N,), int
        Group of every sample: the labelled ones, then those of the test set.
    """
    ids = index.train_ids + index.test_ids
    keys, pairs = {"antibody": antibodies(ids)}, []
    for path in sources(run):
        if path == run.duplicates:
            table = duplicate_pairs.read(path)
            pairs = list(zip(table["a"], table["b"], strict=True))
        elif path != run.solution:
            keys["table"] = read_own(run)
        elif "Antibody" in files.read_table(path, "expected the column Id", ("Id",)):  # of simulated cells
            keys["antibody"] |= read_groups(path, ("Id", "Antibody"))
    table = group_samples(ids, keys, pairs)
    files.write_text(run.sample_groups, table.to_csv(index=False))
    report(table)
    return table["group"].to_numpy()


def group_samples(
    ids: list[str], keys: dict[str, dict[str, str]], pairs: Iterable[tuple[str, str]] = ()
) -> pd.DataFrame:
    """Group samples that are linked, directly or through others.

    Parameters
    ----------
    ids : list of str, length N
    keys : dict of dict of str
        By reason (antibody, table): the key of samples by id; samples with the same key are linked.
    pairs : iterable of tuple of (str, str)
        Ids of duplicates.

    Returns
    -------
    DataFrame
        Columns id, in the order of `ids`; group, a number, 0 for that of the first sample and so on; and
        reason, what links the sample to others (antibody, table, duplicate; several are separated by a
        space), empty for a sample without links.
    """
    row_of = {sample: row for row, sample in enumerate(ids)}
    edges, reasons = [], [[] for _ in ids]
    links = {reason: _links_by_key(row_of, key_of) for reason, key_of in keys.items()}
    links["duplicate"] = [(row_of[a], row_of[b]) for a, b in pairs if a in row_of and b in row_of]
    for reason, pairs in links.items():
        edges += pairs
        for row in sorted({row for pair in pairs for row in pair}):
            reasons[row].append(reason)
    first_E, second_E = np.array(edges, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges), bool), (first_E, second_E)), shape=(len(ids), len(ids)))
    _, component_N = connected_components(graph, directed=False)
    group_N, _ = pd.factorize(component_N)  # numbered by first appearance
    return pd.DataFrame({"id": ids, "group": group_N, "reason": [" ".join(words) for words in reasons]})


def _links_by_key(row_of: dict[str, int], key_of: dict[str, str]) -> list[tuple[int, int]]:
    """Return links from every sample with a key to the first one with the same key."""
    first: dict[str, int] = {}
    links = []
    for sample, row in row_of.items():
        if sample in key_of:
            other = first.setdefault(key_of[sample], row)
            if other != row:
                links.append((other, row))
    return links


def report(table: pd.DataFrame) -> None:
    """Print how many groups have several samples, and warn of a suspiciously large one.

    Parameters
    ----------
    table : DataFrame
        As `group_samples` returns it.
    """
    sizes = table["group"].value_counts()
    several = sizes[sizes > 1]
    if several.empty:
        info("groups: none is known; every sample is independent as far as this run can tell")
        return
    info(
        f"groups: {several.sum():,} of {len(table):,} samples are in {len(several):,} groups of several, "
        f"the largest of {several.max():,}"
    )
    if several.max() > max(LARGE_GROUP * len(table), LARGE_COUNT):
        largest = table[table["group"] == several.index[0]]
        reasons = " and ".join(sorted({word for text in largest["reason"] for word in text.split()}))
        warn(
            f"one group has {len(largest):,} of {len(table):,} samples, among them {largest['id'].iloc[0]} "
            f"(linked by {reasons}): they all stay in one subset; check whether the links are right"
        )


def read_reasons(path: Path) -> set[str]:
    """Return what links samples in ``sample_groups.csv``; raises as `read_sample_groups`."""
    with files.reading(path, SCRIPT):
        return {word for text in _read(path)["reason"].unique() for word in text.split()}


def read_sample_groups(path: Path, ids: list[str]) -> np.ndarray:
    """Read ``sample_groups.csv``.

    Parameters
    ----------
    ids : list of str, length N
        The labelled samples, in the order of the index, with which the table begins.

    Returns
    -------
    ndarray of shape (N,), int
        Group of each of them.

    Raises
    ------
    UserError
        If the file is missing or damaged, or does not list these samples.
    """
    with files.reading(path, SCRIPT):
        table = _read(path)
        if table["id"].tolist()[: len(ids)] != ids:
            raise ValueError("its ids are not those of index.csv in their order")
        return parse_numbers(table["group"], 0, len(table) - 1).to_numpy(int)[: len(ids)]


def _read(path: Path) -> pd.DataFrame:
    return files.read_table(path, rewrite(SCRIPT), ("id", "group", "reason"))
