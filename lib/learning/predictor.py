"""One predictor, from settings to probabilities: a network trained and asked, or trees on the features."""

from pathlib import Path

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from lib.config import Config
from lib.console import say
from lib.images.augment import Augmentation, use_one_thread
from lib.learning import boosting, models, training
from lib.learning.dataset import Source, make_loader, rarity
from lib.learning.devices import choose_device, make_deterministic
from lib.learning.inference import evaluate
from lib.ranks import WORLD


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
) -> tuple[pd.DataFrame | None, dict[str, dict[str, np.ndarray]]]:
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
    probabilities : dict of dict of ndarray of shape (N, C), float32
        For each of the subsets, in the order of its rows, and for ``test``; under the key "", and with
        test-time augmentation those under ``_tta`` too.
    """
    chosen = settings.training
    if not settings.is_network:
        all_NF = np.concatenate([train.features_NF, test.features_NF])
        all_NC = boosting.fit_and_predict(all_NF, train.truth_NC, subsets["train"], chosen.seed)
        found = {name: all_NC[rows] for name, rows in subsets.items()} | {"test": all_NC[len(train.ids) :]}
        return None, {"": found}
    model, batches = start(settings, train, subsets["train"], channels, workers)
    size, workers = chosen.batch_size, batches.num_workers
    plain = {name: make_loader(train, rows, size, workers) for name, rows in subsets.items()}
    plain["test"] = make_loader(test, np.arange(len(test.ids)), size, workers)
    history = training.fit(model, batches, plain["validation"], chosen, folder, identity, resume)
    found = {}
    for suffix in ("", "_tta") if chosen.tta else ("",):
        found[suffix] = {
            name: evaluate(
                model, loader, chosen, label=f"predicting {name}", tta=bool(suffix)
            ).probabilities_NC
            for name, loader in plain.items()
        }
    return history, found


def start(
    settings: Config,
    train: Source,
    rows: np.ndarray,
    channels: dict[str, list[float]],
    workers: int,
) -> tuple[models.Classifier, DataLoader]:
    """Return an untrained network on its device, and its training batches; arguments as above."""
    chosen = settings.training
    device = choose_device()
    # on a CPU they would fight for cores; on GPUs the processes of a machine share them
    workers = min(workers // WORLD or 1, 16) if device.type == "cuda" else 0
    if not workers:
        use_one_thread()  # the network has the others
    make_deterministic(chosen.seed)
    features = None if train.features is None else train.features.iloc[rows]
    classes = train.truth_NC.shape[1]
    model = models.build_model(settings.network, classes, **channels, features=features).to(device)
    say(f"{settings.network.architecture}, {models.count_parameters(model):,} parameters, on {device}")
    weight_N = rarity(train.truth_NC[rows]) if chosen.sampling == "rare" else None
    augmentation = Augmentation(chosen.augmentation, chosen.seed)
    return model, make_loader(train, rows, chosen.batch_size, workers, chosen.seed, augmentation, weight_N)
