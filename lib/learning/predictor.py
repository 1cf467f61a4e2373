"""One predictor, from settings to probabilities: a network trained and asked, or trees on the features."""

from dataclasses import replace

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from lib.console import say
from lib.images.augment import Augmentation, use_one_thread
from lib.learning import boosting, models, training
from lib.learning.dataset import make_loader, rarity
from lib.learning.devices import choose_device, make_deterministic
from lib.learning.inference import evaluate
from lib.learning.tasks import Task
from lib.ranks import WORLD


def train_and_predict(
    task: Task, identity: str
) -> tuple[pd.DataFrame | None, dict[str, dict[str, np.ndarray]]]:
    """Train what the task's settings name on its training rows, and let it predict every subset.

    Parameters
    ----------
    identity : str
        As `lib.learning.training.fit` takes it.

    Returns
    -------
    history : DataFrame, or None for trees
        As `lib.learning.training.fit` returns it.
    probabilities : dict of dict of ndarray of shape (N, O), float32
        For each of the material's subsets, in the order of its rows, and for ``test``; under the key "",
        and with test-time augmentation those under ``_tta`` too. O are the task's outputs.
    """
    settings, material = task.run.config, task.material
    chosen, subsets = settings.training, material.subsets
    if not settings.is_network:
        all_NF = np.concatenate([material.train.features_NF, material.test.features_NF])
        say(f"  boosted trees on {all_NF.shape[1]} features, without images")
        all_NO = boosting.fit_and_predict(all_NF, task.truth_NO, task.train, chosen.seed)
        labelled = len(material.train.ids)
        return None, {
            "": {name: all_NO[rows] for name, rows in subsets.items()} | {"test": all_NO[labelled:]}
        }
    model, batches = start(task)
    size, workers = chosen.batch_size, batches.num_workers
    train = batches.dataset.source
    validation = make_loader(train, task.validation, size, workers)
    plain = {name: make_loader(train, rows, size, workers) for name, rows in subsets.items()}
    plain["test"] = make_loader(material.test, np.arange(len(material.test.ids)), size, workers)
    history = training.fit(
        model, batches, validation, chosen, task.folder, identity, resume=not task.run.force
    )
    found = {}
    for suffix in ("", "_tta") if chosen.tta else ("",):
        found[suffix] = {
            name: evaluate(
                model, loader, chosen, label=f"predicting {name}", tta=bool(suffix)
            ).probabilities_NC
            for name, loader in plain.items()
        }
    return history, found


def start(task: Task) -> tuple[models.Classifier, DataLoader]:
    """Return an untrained network on its device, and its training batches."""
    settings, material, workers = task.run.config, task.material, task.run.workers
    chosen = settings.training
    device = choose_device()
    # on a CPU they would fight for cores; on GPUs the processes of a machine share them
    workers = min(workers // WORLD or 1, 16) if device.type == "cuda" else 0
    if not workers:
        use_one_thread()  # the network has the others
    make_deterministic(chosen.seed)
    train = replace(material.train, truth_NC=task.truth_NO)
    features = None if train.features is None else train.features.iloc[task.train]
    outputs = task.truth_NO.shape[1]
    model = models.build_model(
        settings.network, outputs, **material.channels, features=features, heads=task.heads
    )
    if task.start:
        models.start_from(model, task.run.network(task.start))
    model = model.to(device)
    say(f"  {settings.network.architecture}, {models.count_parameters(model):,} parameters, on {device}")
    weight_N = rarity(task.truth_NO[task.train]) if chosen.sampling == "rare" else None
    augmentation = Augmentation(chosen.augmentation, chosen.seed)
    return model, make_loader(
        train, task.train, chosen.batch_size, workers, chosen.seed, augmentation, weight_N
    )
