"""The networks of a hierarchy: for groups of locations, and for the locations within each group.

Stage 1 predicts the groups of a sample; a stage 2 network for each group predicts its locations (Hoogenboom
2019, section 2.3). A joint network does both at once. `lib.hierarchy.combination` combines their predictions.
Does not load torch.
"""

import numpy as np

from lib import location_groups
from lib.console import info, warn
from lib.data.run_data import Fold, RunData
from lib.errors import UserError
from lib.evaluation.predictions import OTHER
from lib.hierarchy.combination import HierarchyPredictions, trainable_classes
from lib.labels import CLASSES
from lib.learning.task import Task
from lib.learning.training_data import TrainingData
from lib.location_groups import LocationGroups
from lib.names import HIERARCHY_NETWORKS
from lib.run import Run


def hierarchy_tasks(run: Run, data: RunData) -> dict[str, Task]:
    """Return the tasks that the settings ask for, by name.

    A group has no stage 2 network if there is nothing to learn in a fold: fewer than two training samples, or
    the same labels on all of them. `lib.hierarchy.combination` then uses the labels' shares.

    Raises
    ------
    UserError
        If the networks of two hierarchies have the same name.
    """
    settings = run.config.hierarchy
    training = {kind: TrainingData.read(run.for_hierarchy_network(kind), data) for kind in HIERARCHY_NETWORKS}
    tasks: list[Task] = []
    for hierarchy in HierarchyPredictions.all_of(run, data):
        tasks += _stage_1(run, hierarchy, training)
        tasks += _stage_2(run, hierarchy, training["stage_2"])
    if settings.train in ("joint", "all"):
        tasks.append(_joint(run, training["joint"]))
    by_name = {task.name: task for task in tasks}
    if len(by_name) < len(tasks):
        names = [task.name for task in tasks]
        repeated = next(name for name in names if names.count(name) > 1)
        raise UserError(
            f"{' and '.join(['hierarchy', *run.config.hierarchies])} both have a network {repeated}: "
            f"rename the group, in the file that hierarchy.grouping names"
        )
    return by_name


def _kept_groups(data: RunData) -> LocationGroups:
    """Return the groups with the classes that the run keeps."""
    return {group: tuple(c for c in labels if c in data.classes) for group, labels in data.groups.items()}


def _stage_1(run: Run, hierarchy: HierarchyPredictions, training: dict[str, TrainingData]) -> list[Task]:
    """Return a hierarchy's networks for the groups; the first one routes."""
    data = hierarchy.data
    truth_NG, names = location_groups.membership(data.index.truth_NC, _kept_groups(data)), list(data.groups)
    tasks = []
    for name, kind in hierarchy.stage_1_kinds.items():
        targets, outputs = truth_NG, names
        if kind == "stage_1_single":
            targets = location_groups.to_combinations(truth_NG)
            combination_MG = location_groups.combinations(len(names))
            outputs = [" + ".join(np.array(names)[chosen_G]) for chosen_G in combination_MG]
        own = run.for_hierarchy_network(kind)
        tasks.append(Task(name, own, training[kind], targets, list(data.folds), outputs))
    return tasks


def _stage_2(run: Run, hierarchy: HierarchyPredictions, training: TrainingData) -> list[Task]:
    """Return a hierarchy's networks for the locations within each group."""
    own, data, tasks = run.for_hierarchy_network("stage_2"), hierarchy.data, []
    start_from = hierarchy.stage_1[0] if hierarchy.settings.transfer else ""
    truth_NC = data.index.truth_NC
    truth_NG = location_groups.membership(truth_NC, _kept_groups(data))
    for number, group in enumerate(data.groups):
        labels = trainable_classes(data, group)
        if not labels:
            info(f"{group}: no stage 2 network: its training samples are too few, or have the same labels")
            continue
        seed = [run.config.training.seed, number]
        for other in hierarchy.others:
            targets, outputs = truth_NC[:, labels], [CLASSES[label] for label in labels]
            folds = [_within_group(fold, truth_NG[:, number], group) for fold in data.folds]
            if other:
                folds = [
                    Fold(
                        fold.number,
                        with_other(within.train, fold.train, targets, seed),
                        with_other(within.validation, fold.validation, targets, seed),
                    )
                    for fold, within in zip(data.folds, folds, strict=True)
                ]
                targets = np.column_stack([targets, ~truth_NG[:, number]])
                outputs = [*outputs, OTHER]
            name = hierarchy.stage_2_name(group, other)
            more = {"group_classes": labels, "start_from": start_from}
            tasks.append(Task(name, own, training, targets, folds, outputs, **more))
    return tasks


def _within_group(fold: Fold, in_group_N: np.ndarray, group: str) -> Fold:
    """Return the rows of a fold that have a label of a group."""
    train, validation = (rows[in_group_N[rows]] for rows in (fold.train, fold.validation))
    if not len(validation):
        warn(f"{group} has no validation sample: its networks are validated on their training samples")
        validation = train
    return Fold(fold.number, train, validation)


def _joint(run: Run, training: TrainingData) -> Task:
    """Return the network that predicts locations and groups at once."""
    data = training.data
    groups = {group: labels for group, labels in _kept_groups(data).items() if labels}
    truth_NC = data.index.truth_NC
    return Task(
        "joint",
        run.for_hierarchy_network("joint"),
        training,
        truth_NO=np.column_stack([truth_NC[:, data.classes], location_groups.membership(truth_NC, groups)]),
        folds=list(data.folds),
        outputs=[*(CLASSES[label] for label in data.classes), *groups],
        classes=data.classes,
        heads=tuple(tuple(data.classes.index(label) for label in labels) for labels in groups.values()),
    )


def with_other(within: np.ndarray, rows: np.ndarray, truth_NL: np.ndarray, seed: list[int]) -> np.ndarray:
    """Add samples with none of a group's labels, drawn at random, to those of the group.

    Their number is the mean number of samples per label of the group: Hoogenboom 2019, section 2.3, "the
    average of the number of samples"; or all, if there are fewer.

    Parameters
    ----------
    within, rows : ndarray of int
        Rows of the group, and all rows of the subset.
    truth_NL : ndarray of shape (N, L), bool
        The group's labels, for every row that may occur.
    seed : list of int
        Of the draw.

    Returns
    -------
    ndarray of int
        Ascending.
    """
    outside = rows[~truth_NL[rows].any(axis=1)]
    count = min(round(truth_NL[rows].sum(axis=0).mean()), len(outside))
    drawn = np.random.default_rng(seed).choice(outside, count, replace=False)
    return np.sort(np.concatenate([within, drawn]))
