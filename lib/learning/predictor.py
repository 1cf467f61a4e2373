"""One predictor, from settings to probabilities: a network trained and asked, or trees on the features."""

from pathlib import Path

import numpy as np
import pandas as pd

from lib.config import Config
from lib.console import say
from lib.images.augment import Augmentation
from lib.learning import boosting, models, training
from lib.learning.dataset import Source, make_loader


def train_and_predict(
    settings: Config,
    train: Source,
    test: Source,
    subsets: dict[str, np.ndarray],
    channels: dict[str, list[float]],
    folder: Path,
    identity: str,
    workers: int,
    resume: bool,
) -> tuple[pd.DataFrame | None, dict[str, np.ndarray]]:
    """Train what the settings name on the training rows, and let it predict every subset.

    Parameters
    ----------
    train, test : Source
        The labelled samples, with targets, and the test samples.
    subsets : dict of ndarray of int
        Rows of the labelled samples: train, validation, and others that are predicted too.
    channels : dict of list of 4 float
        ``mean`` and ``deviation`` of the training rows, grey levels, R G B Y.
    folder, identity, resume
        As `lib.learning.training.fit` takes them.

    Returns
    -------
    history : DataFrame, or None for trees
        As `lib.learning.training.fit` returns it.
    probabilities : dict of ndarray of shape (N, C), float32
        For each of the subsets, in the order of its rows, and for ``test``.
    """
    chosen = settings.training
    if not settings.is_network:
        all_NF = np.concatenate([train.features_NF, test.features_NF])
        all_NC = boosting.fit_and_predict(all_NF, train.truth_NC, subsets["train"], chosen.seed)
        labelled = len(train.features_NF)
        return None, {name: all_NC[rows] for name, rows in subsets.items()} | {"test": all_NC[labelled:]}
    device = training.choose_device()
    workers = min(workers, 16) if device.type == "cuda" else 0  # on a CPU they would fight for cores
    training.make_deterministic(chosen.seed)
    features = None
    if train.features_NF is not None:
        features = pd.DataFrame(train.features_NF[subsets["train"]], columns=train.feature_names)
    classes = train.truth_NC.shape[1]
    model = models.build_model(settings.network, classes, **channels, features=features).to(device)
    say(f"{settings.network.architecture}, {models.count_parameters(model):,} parameters, on {device}")
    batches = make_loader(
        train, subsets["train"], chosen.batch_size, workers,
        seed=chosen.seed, augmentation=Augmentation(chosen.augmentation, chosen.seed),
    )  # fmt: skip
    plain = {name: make_loader(train, rows, chosen.batch_size, workers) for name, rows in subsets.items()}
    plain["test"] = make_loader(test, np.arange(len(test.array)), chosen.batch_size, workers)
    history = training.fit(model, batches, plain["validation"], chosen, folder, identity, resume)
    probabilities = {
        name: training.evaluate(model, loader, chosen.precision, f"predicting {name}").probabilities_NC
        for name, loader in plain.items()
    }
    return history, probabilities
