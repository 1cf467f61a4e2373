"""Warnings of stage 00 about samples from which nothing can be learned."""

import numpy as np

from lib.console import warn
from lib.data.cache import ShardedArray
from lib.data.sample_index import SampleIndex
from lib.evaluation import plausibility
from lib.features import image_plausibility
from lib.run import Run


def warn_if_implausible(
    run: Run, index: SampleIndex, bad_ids: set[str], classes: np.ndarray, training_NC: np.ndarray
) -> None:
    """Warn of too few training samples, and of cached images that show nothing in any channel.

    Parameters
    ----------
    bad_ids : set of str
        Samples that are left out, whose images are black.
    classes : ndarray of int
        The class numbers that the run keeps.
    training_NC : ndarray of shape (N, C), bool
        Labels of the training samples.
    """
    found = plausibility.check_training(training_NC, classes.tolist())
    if found:
        warn("; ".join(found))
    if run.options.labels_only:
        return
    for subset, ids in (("train", index.train_ids), ("test", index.test_ids)):
        _, std_NK = ShardedArray(run.array(subset, max(run.config.data.sizes))).moments()
        is_empty_N = (std_NK < image_plausibility.FLAT).all(axis=1)
        empty = [ids[row] for row in np.flatnonzero(is_empty_N) if ids[row] not in bad_ids]
        if empty:
            warn(
                f"{len(empty):,} of {len(ids):,} {subset} images show one grey level in every channel, the "
                f"first is {empty[0]}: look at them, nothing can be learned from or predicted for them"
            )
