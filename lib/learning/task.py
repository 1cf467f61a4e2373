"""One network's task: which outputs it learns, from which samples; knows no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.cli import Run
from lib.evaluation import predictions
from lib.evaluation.predictions import PredictionTable
from lib.learning.training_data import Material


@dataclass(frozen=True)
class Task:
    """What one network learns; shape letter O: its outputs.

    Attributes
    ----------
    name : str
    run : Run
        With the network's own settings.
    material : Material
        What it learns from.
    truth_NO : ndarray of shape (N, O), bool
        Targets of the labelled samples.
    train, validation : ndarray of int
        Rows of the labelled samples that it learns from and is judged by.
    classes : list of int or None
        The class numbers of its first outputs; None where they are no classes.
    table : callable
        Gives the path of its predictions, for a subset and a suffix ("", or "_tta").
    start : str
        The network from whose weights it starts, all but the last layer; empty: from its own.
    heads : tuple of tuple of int, or None
        A network with a head for each group: the outputs of each group's labels. The outputs after
        those are the groups.
    """

    name: str
    run: Run
    material: Material
    truth_NO: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    classes: list[int] | None
    table: Callable[[str, str], Path]
    start: str = ""
    heads: tuple[tuple[int, ...], ...] | None = None

    def as_table(self, ids: list[str], probabilities_NO: np.ndarray) -> PredictionTable:
        """Return what it says of samples as a prediction table: of its classes, or of its outputs."""
        if self.classes is None:
            return PredictionTable(ids, probabilities_NO)
        return predictions.of_classes(ids, probabilities_NO[:, : len(self.classes)], self.classes)

    @property
    def folder(self) -> Path:
        """Where its weights and history are."""
        return self.run.network(self.name)


def of_classes(name: str, run: Run, material_of: Callable[[Run], Material] = Material.of) -> Task:
    """Return the task of telling all classes of the run: a predictor by itself."""
    material = material_of(run)
    return Task(
        name,
        run,
        material,
        material.index.truth_NC[:, material.classes],
        material.subsets["train"],
        material.subsets["validation"],
        material.classes,
        lambda subset, suffix: run.predictions(name + suffix, subset),
    )


def suffixes(run: Run) -> tuple[str, ...]:
    """Return what is appended to a network's name for each way in which it predicts."""
    return ("", "_tta") if run.config.training.tta and run.config.is_network else ("",)
