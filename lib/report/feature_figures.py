"""Figures of a run's features, which stage 01 draws."""

from typing import NamedTuple

import pandas as pd

from lib.data import splits
from lib.data.cache import ShardedArray
from lib.data.sample_index import SampleIndex
from lib.errors import UserError, quote
from lib.features.biological import PreparedSample
from lib.figures import data_and_training, segments
from lib.run import Run
from lib.settings import nearest

SHOWN_SAMPLES = 4  # with different classes


class Shown(NamedTuple):
    """A sample whose segmentation is drawn: its array, ``train`` or ``test``, its row there, its title."""

    subset: str
    row: int
    title: str


def find(index: SampleIndex, ids: list[str] | None) -> list[Shown]:
    """Return the samples with these ids, labelled or of the test set; without ids, some of different classes.

    Raises
    ------
    UserError
        If an id is not in the index.
    """
    if not ids:
        ids = [index.train_ids[row] for row in splits.diverse_rows(index.truth_NC, SHOWN_SAMPLES)]
    places = {
        sample: (subset, row)
        for subset, known in reversed(index.ids.items())
        for row, sample in enumerate(known)
    }
    unknown = next((sample for sample in ids if sample not in places), None)
    if unknown is not None:
        raise UserError(
            f"--show {quote(unknown)}: no sample has this id{nearest(unknown, places)}; "
            "expected ids of train.csv or sample_submission.csv"
        )
    shown = []
    for sample in ids:
        subset, row = places[sample]
        labels = data_and_training.label_names(index.truth_NC[row]) if subset == "train" else "test set"
        shown.append(Shown(subset, row, f"{sample}\n{labels}"))
    return shown


def draw_separation(run: Run, index: SampleIndex, labelled: pd.DataFrame, by_class: pd.DataFrame) -> None:
    """Draw how the features differ between classes and groups.

    Parameters
    ----------
    labelled : DataFrame
        Features of the labelled samples.
    by_class : DataFrame
        As `lib.features.class_separation.by_class` returns it.
    """
    data = run.data_name
    data_and_training.features_by_class(run.figure("features_by_class"), by_class, index.truth_NC, data)
    data_and_training.features_by_group(run.figure("features_by_group"), labelled, index.truth_NC, data)


def draw_segmentation(run: Run, arrays: dict[str, ShardedArray], shown: list[Shown]) -> None:
    """Draw nuclei and segments of some samples, as the features see them.

    Parameters
    ----------
    arrays : dict of ShardedArray
        The arrays ``train`` and ``test`` that the features are computed on.
    """
    settings = run.config.features
    samples = [
        PreparedSample(arrays[subset][row], settings.denoise, settings.segmentation)
        for subset, row, _ in shown
    ]
    titles = [title for *_, title in shown]
    segments.protein_in_nuclei(run.figure("protein_in_nuclei"), samples, titles, run.data_name)
    segments.segments(run.figure("segments"), samples, titles, run.data_name)
