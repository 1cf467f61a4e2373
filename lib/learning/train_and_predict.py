"""One predictor, from settings to probabilities: a network trained and asked, or trees on the features."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from lib import files
from lib.cli import Run
from lib.config import Network, Training
from lib.console import say
from lib.errors import UserError
from lib.learning import feature_trees, fit, models
from lib.learning.augment import Augmentation, use_one_thread
from lib.learning.devices import choose_device, make_deterministic
from lib.learning.inference import evaluate
from lib.learning.loader import make_loader, rarity
from lib.learning.task import Task, suffixes
from lib.ranks import WORLD


def train_and_predict(
    task: Task, identity: str
) -> tuple[pd.DataFrame | None, dict[str, dict[str, np.ndarray]]]:
    """Train what the task's settings name on its training rows, and let it predict every subset.

    Parameters
    ----------
    identity : str
        As `lib.learning.fit.fit` takes it.

    Returns
    -------
    history : DataFrame, or None for trees
        As `lib.learning.fit.fit` returns it.
    probabilities : dict of dict of ndarray of shape (N, O), float32
        For each of the material's subsets, in the order of its rows, and for ``test``; under the key "",
        and with test-time augmentation those under ``_tta`` too. O are the task's outputs.
    """
    settings, material = task.run.config, task.material
    chosen, subsets = settings.training, material.subsets
    if not settings.is_network:
        say(f"  boosted trees on {material.train.features_NF.shape[1]} features, without images")
        labelled_NO, test_NO = _grow_trees(task)
        return None, {"": {name: labelled_NO[rows] for name, rows in subsets.items()} | {"test": test_NO}}
    model, batches = start(task)
    size, workers = chosen.batch_size, batches.num_workers
    train = batches.dataset.source
    validation = make_loader(train, task.validation, size, workers)
    plain = {name: make_loader(train, rows, size, workers) for name, rows in subsets.items()}
    plain["test"] = make_loader(material.test, np.arange(len(material.test.ids)), size, workers)
    history = fit.fit(model, batches, validation, chosen, task.folder, identity, resume=not task.run.force)
    return history, {suffix: _ask(model, plain, chosen, suffix) for suffix in suffixes(task.run)}


def predict_test(task: Task) -> dict[str, np.ndarray]:
    """Let a trained network, or trees grown again, predict the material's test samples.

    Returns
    -------
    dict of ndarray of shape (N, O), float32
        By suffix, as `train_and_predict` has them.
    """
    chosen, test = task.run.config.training, task.material.test
    if not task.run.config.is_network:
        return {"": _grow_trees(task)[1]}
    model = trained(task)
    workers = _loading_processes(task.run, next(model.parameters()).device)
    loaders = {"test": make_loader(test, np.arange(len(test.ids)), chosen.batch_size, workers)}
    return {suffix: _ask(model, loaders, chosen, suffix)["test"] for suffix in suffixes(task.run)}


def _grow_trees(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return what trees on the features say of the labelled and of the test samples, (N, O)."""
    material, seed = task.material, task.run.config.training.seed
    all_NF = np.concatenate([material.train.features_NF, material.test.features_NF])
    all_NO = feature_trees.fit_and_predict(all_NF, task.truth_NO, task.train, seed)
    return all_NO[: len(material.train.ids)], all_NO[len(material.train.ids) :]


def _ask(
    model: models.Classifier, loaders: dict[str, DataLoader], settings: Training, suffix: str
) -> dict[str, np.ndarray]:
    return {
        name: evaluate(
            model, loader, settings, label=f"predicting {name}", tta=suffix == "_tta"
        ).probabilities_NC
        for name, loader in loaders.items()
    }


def _loading_processes(run: Run, device: torch.device) -> int:
    # on a CPU they would fight for cores; on GPUs the processes of a machine share them
    return min(run.workers // WORLD or 1, 16) if device.type == "cuda" else 0


def trained(task: Task) -> models.Classifier:
    """Return a network as training has left it, on the device.

    Raises
    ------
    UserError
        If it is not trained, or with other settings of the network.
    """
    path = files.require(task.folder / "weights.pt", "02_train_cnn.py")
    model = _build(task, replace(task.run.config.network, pretrained=False))  # its weights come from the file
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except RuntimeError as error:
        raise UserError(
            f"{path} is of another network than the settings name ({str(error).splitlines()[1].strip()}): "
            f"leave the run's network settings as they were"
        ) from None
    return model.to(choose_device()).eval()


def _build(task: Task, settings: Network) -> models.Classifier:
    source, outputs = task.material.train, task.truth_NO.shape[1]
    features = None if source.features is None else source.features.iloc[task.train]
    return models.build_model(
        settings, outputs, **task.material.channels, features=features, heads=task.heads
    )


def start(task: Task) -> tuple[models.Classifier, DataLoader]:
    """Return an untrained network on its device, and its training batches."""
    settings, material = task.run.config, task.material
    chosen = settings.training
    device = choose_device()
    workers = _loading_processes(task.run, device)
    if not workers:
        use_one_thread()  # the network has the others
    make_deterministic(chosen.seed)
    train = replace(material.train, truth_NC=task.truth_NO)
    model = _build(task, settings.network)
    if task.start:
        models.start_from(model, task.run.network(task.start))
    model = model.to(device)
    say(f"  {settings.network.architecture}, {models.count_parameters(model):,} parameters, on {device}")
    weight_N = rarity(task.truth_NO[task.train]) if chosen.sampling == "rare" else None
    augmentation = Augmentation(chosen.augmentation, chosen.seed)
    return model, make_loader(
        train, task.train, chosen.batch_size, workers, chosen.seed, augmentation, weight_N
    )
