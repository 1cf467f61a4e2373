"""Figures of a run's samples, which stage 00 draws."""

import numpy as np
import pandas as pd

from lib.data import splits
from lib.data.cache import ShardedArray
from lib.data.sample_index import SampleIndex
from lib.figures import data_and_training as figures
from lib.run import Run

SHOWN_SAMPLES = 6
GALLERY_SIZE = 256  # pixels


def draw(
    run: Run, index: SampleIndex, rows: np.ndarray, split: pd.DataFrame, arrays: dict[int, ShardedArray]
) -> None:
    """Draw class counts, labels per sample and, where images are cached, some samples.

    Counts are of all labelled samples (Hoogenboom 2019, figure 2), those that the run leaves out included.

    Parameters
    ----------
    rows : ndarray of int
        The samples of the run, in the order of `split`.
    split : DataFrame
        As `lib.data.splits.make_split` returns it.
    arrays : dict of ShardedArray
        Labelled samples by size; empty in a run without images.
    """
    truth_NC = index.truth_NC[rows]
    counts = splits.count_classes(truth_NC, split)
    counts["left out"] = index.truth_NC.sum(axis=0) - truth_NC.sum(axis=0)
    figures.class_counts(run.figure("class_counts"), counts, run.data_name)
    figures.labels_per_sample(run.figure("labels_per_sample"), index.truth_NC, run.data_name)
    if arrays:
        shown = rows[splits.diverse_rows(truth_NC, SHOWN_SAMPLES)]
        images = [arrays[max(arrays)][row] for row in shown]
        names = [figures.label_names(index.truth_NC[row]) for row in shown]
        figures.contact_sheet(run.figure("samples"), images, names, run.data_name)
    if run.generates_data:
        from lib.simulation import dataset

        examples = dataset.class_gallery(GALLERY_SIZE, run.config.simulation.seed)
        title = "Simulated cells: one example of each class, brightened for display"
        figures.class_gallery(run.figure("classes"), examples, title)
