"""One task, from settings to probabilities: trains a network, or trees on the features, and predicts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from lib.console import info
from lib.data.opencv import use_one_thread
from lib.data.run_data import Fold
from lib.distributed import LOCAL_WORLD, is_primary
from lib.errors import UserError
from lib.learning import feature_trees, losses, models
from lib.learning.augment import Augmentation
from lib.learning.devices import choose_device, keep_freed_memory, make_deterministic
from lib.learning.fit import fit
from lib.learning.inference import CropGrid, predict
from lib.learning.loader import make_loader, rarity
from lib.learning.models import Classifier
from lib.learning.network_spec import NetworkSpec
from lib.learning.task import Task
from lib.learning.training_data import SampleSource

MAX_LOADING_PROCESSES = 16

Probabilities = dict[tuple[int, str], np.ndarray]  # (N, O), float32, by number of views and subset


def train_and_predict(task: Task, fold: Fold, identity: str) -> tuple[pd.DataFrame | None, Probabilities]:
    """Train what a task's settings name on a fold's training rows, and predict every subset.

    Parameters
    ----------
    identity : str
        As `lib.learning.fit.fit` takes it.

    Returns
    -------
    history : DataFrame, or None for trees and without training
        As `lib.learning.fit.fit` returns it.
    probabilities : dict of ndarray of shape (N, O), float32
        By number of views and subset, in the order of ``RunData.rows(subset, fold)``. O are the task's
        outputs.
    """
    settings, data = task.run.config, task.training.data
    if not settings.is_network:
        info(f"  gradient boosted trees on {task.training.labelled.features_NF.shape[1]} features, no images")
        return None, _grow_trees(task, fold)
    model, train = prepare(task, fold)
    chosen, workers = settings.training, train.num_workers
    source = train.dataset.source
    validation = make_loader(source, fold.validation, chosen.batch_size, workers)
    if is_primary():
        model.spec.write(task.folder(fold))
    if chosen.epochs:
        history = fit(
            model, train, validation, chosen, task.folder(fold), identity, resume=not task.run.force
        )
    else:
        history = None
        _keep_as_it_is(model, task, fold)
    probabilities = {}
    for views, subset in data.predictions_with(task.views):
        samples = task.training.test if subset == "test" else source
        loader = make_loader(samples, data.rows(subset, fold), chosen.batch_size, workers)
        probabilities[views, subset] = predict_with(model, loader, views, f"predicting {subset}")
    return history, probabilities


def _keep_as_it_is(model: Classifier, task: Task, fold: Fold) -> None:
    """Save the weights of a network that is not trained; a `UserError` unless it starts complete."""
    if not model.starts_complete:
        raise UserError(
            f"training.epochs=0: network.start={task.run.config.network.start} holds no complete network for "
            f"the outputs of {task.name}, some of its layers start at random: name one for the same outputs "
            f"and with the same head, without features and hierarchy, or train for an epoch or more"
        )
    if is_primary():
        models.save_weights(task.folder(fold) / "weights.safetensors", model.state_dict())


def predict_with(model: Classifier, loader: DataLoader, views: int, label: str) -> np.ndarray:
    """Return a network's probabilities, shape (N, O), float32.

    Parameters
    ----------
    views : int
        1, or 8 with test-time augmentation: of the image, or of each of its crops.
    label : str
        Names the progress bar.
    """
    spec = model.spec
    grid = CropGrid(spec.tta_crops, spec.tta_side) if views > 1 and spec.tta_crops else None
    how = {"label": label, "views": views, "grid": grid, "combine": spec.tta_combine}
    return predict(model, loader, spec.precision, spec.activation, **how).probabilities_NC


def _grow_trees(task: Task, fold: Fold) -> Probabilities:
    data, labelled = task.training.data, task.training.labelled
    all_NF = np.concatenate([labelled.features_NF, task.training.test.features_NF])
    seed = task.run.config.training.seed
    all_NO = feature_trees.fit_and_predict(all_NF, task.truth_NO, fold.train, seed)
    labelled_NO, test_NO = all_NO[: len(labelled.ids)], all_NO[len(labelled.ids) :]
    return {
        (1, subset): test_NO if subset == "test" else labelled_NO[data.rows(subset, fold)]
        for subset in data.predicted_subsets
    }


def loading_processes(workers: int, device: torch.device) -> int:
    """Return the number of processes that load images: none on a CPU, where they would compete for cores.

    Parameters
    ----------
    workers : int
        Of the machine, which the training processes share.
    """
    return min(workers // LOCAL_WORLD or 1, MAX_LOADING_PROCESSES) if device.type == "cuda" else 0


def describe(task: Task, features: list[str]) -> NetworkSpec:
    """Describe a task's network, as its ``model.json`` will; `features` are those that it takes."""
    network, training = task.run.config.network, task.run.config.training
    return NetworkSpec(
        architecture=network.architecture,
        channels=network.channels,
        size=training.size,
        array_size=task.run.config.array_size,
        normalisation=network.normalisation,
        outputs=task.outputs,
        classes=task.output_classes,
        activation=losses.activation(training.loss),
        precision=training.precision,
        tta_crops=training.tta_crops,
        tta_side=round(np.mean(training.crop_sides)) if training.tta_crops else 0,
        tta_combine=training.tta_combine,
        dropout=network.dropout,
        head=network.head,
        pooling=network.pooling,
        stem_pool=network.stem_pool,
        features=features,
        feature_scaling=network.feature_scaling,
        fusion=network.fusion,
        fusion_width=network.fusion_width,
        heads=None if task.heads is None else [list(head) for head in task.heads],
    )


def prepare(task: Task, fold: Fold) -> tuple[Classifier, DataLoader]:
    """Return an untrained network on its device, and its training batches."""
    settings, chosen = task.run.config, task.run.config.training
    device = choose_device()
    workers = loading_processes(task.run.workers, device)
    if not workers:
        use_one_thread()  # for augmentation; the network uses the other cores
        keep_freed_memory()
    make_deterministic(chosen.seed, chosen.cudnn_benchmark)
    source: SampleSource = replace(task.training.labelled, truth_NC=task.truth_NO)
    features = None if source.features is None else source.features.iloc[fold.train]
    spec = describe(task, [] if features is None else list(features))
    position = fold.number or 0
    model = models.build(spec, settings.network, **task.training.channels[position], features=features)
    if task.start_from:
        models.start_from(model, task.run.network(task.start_from) / fold.folder)
    model = model.to(device)
    info(f"  {settings.network.architecture}, {models.count_parameters(model):,} parameters, on {device}")
    weight_N = {"all": None, "rare": rarity(task.truth_NO[fold.train])}[chosen.sampling]
    augmentation = Augmentation(chosen, settings.network.channels)
    how = (chosen.seed, augmentation, weight_N, chosen.cutmix)
    return model, make_loader(source, fold.train, chosen.batch_size, workers, *how)
