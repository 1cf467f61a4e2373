"""One network's task: which outputs it learns, from which samples. Does not load torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.data.run_data import Fold
from lib.evaluation import predictions
from lib.evaluation.predictions import SUFFIXES, PredictionTable, Predictor, table_path
from lib.labels import CLASSES
from lib.learning.training_data import TrainingData
from lib.run import Run


@dataclass(frozen=True)
class Task:
    """What one network learns; shape letter O: its outputs.

    Attributes
    ----------
    name : str
    run : Run
        With the network's own settings.
    training : TrainingData
    truth_NO : ndarray of shape (N, O), bool
        Targets of all labelled samples.
    folds : list of Fold
        The rows that it is trained and validated on, for every fold of the run.
    outputs : list of str
        Name of each output.
    classes : list of int or None
        The class numbers of its first outputs: it is a predictor on its own. None where the outputs are not
        classes, or only those of one group.
    group_classes : list of int or None
        The class numbers of the first outputs of a network for the locations within one group.
    start_from : str
        The network whose weights it starts from, except the last layer; empty: its own initialisation.
    heads : tuple of tuple of int, or None
        For a network with a head per group: the outputs of each group's labels. The outputs after those are
        the groups.
    """

    name: str
    run: Run
    training: TrainingData
    truth_NO: np.ndarray
    folds: list[Fold]
    outputs: list[str]
    classes: list[int] | None = None
    group_classes: list[int] | None = None
    start_from: str = ""
    heads: tuple[tuple[int, ...], ...] | None = None

    @property
    def views(self) -> list[int]:
        """The numbers of views that it predicts with: 1, and 8 with test-time augmentation."""
        return [1, 8] if self.run.config.training.tta and self.run.config.is_network else [1]

    @property
    def output_classes(self) -> list[int] | None:
        """The class numbers of its first outputs; None where they are not classes."""
        return self.classes if self.classes is not None else self.group_classes

    @property
    def columns(self) -> int:
        """Number of columns of its prediction tables."""
        return len(self.outputs) if self.output_classes is None else len(CLASSES)

    def folder(self, fold: Fold) -> Path:
        """Folder of the weights and history of a fold's network."""
        return self.run.network(self.name) / fold.folder

    def fold_table(self, fold: Fold, subset: str, views: int) -> Path:
        """Path of the predictions of a fold's network; without folds, those of the network."""
        if fold.number is None:
            return self.table(subset, views)
        return table_path(self.folder(fold), subset, views)

    def table(self, subset: str, views: int) -> Path:
        """Path of the network's predictions, over all folds."""
        if self.classes is None:
            return table_path(self.run.network(self.name), subset, views)
        return self.run.predictor(self.name + SUFFIXES[views]) / f"{subset}.npz"

    def as_table(self, ids: list[str], probabilities_NO: np.ndarray) -> PredictionTable:
        """Return probabilities of its outputs as a prediction table."""
        return predictions.from_outputs(ids, probabilities_NO, self.output_classes, self.outputs)

    def write_predictors(self) -> None:
        """Write ``predictor.json`` where the network is a predictor on its own."""
        kind = "network" if self.run.config.is_network else "trees"
        others = (self.name + ending for views, ending in SUFFIXES.items() if views not in self.views)
        predictions.remove_outdated(map(self.run.predictor, others), lambda one: one.network == self.name)
        augmented = self.run.config.training.augmented_views
        for views in self.views if self.classes is not None else ():
            predictor = Predictor(kind, self.name, views, **(augmented if views > 1 else {}))
            predictor.write(self.run.predictor(self.name + SUFFIXES[views]))


def of_all_classes(name: str, run: Run, training: TrainingData) -> Task:
    """Return the task of predicting all classes of the run.

    Parameters
    ----------
    run : Run
        With the network's own settings.
    """
    data = training.data
    return Task(
        name,
        run,
        training,
        truth_NO=data.index.truth_NC[:, data.classes],
        folds=list(data.folds),
        outputs=[CLASSES[label] for label in data.classes],
        classes=data.classes,
    )
