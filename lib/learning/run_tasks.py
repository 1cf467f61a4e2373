"""Runs tasks that are not complete, fold by fold; several processes share them."""

import time
from collections import Counter
from contextlib import nullcontext

from lib import distributed, files, steps
from lib.console import info
from lib.data.run_data import Fold
from lib.errors import InUseError, UserError
from lib.evaluation import predictions
from lib.learning.task import Task
from lib.steps import Step

# that the result depends on
SETTINGS_OF_NETWORKS = ("network", "training")
SETTINGS_OF_TREES = ("network.kind", "network.features", "training.seed")
WAITING_SECONDS = 2.0  # between two looks at what other processes train


def run_tasks(tasks: list[Task], script: str) -> None:
    """Train networks and predict every subset with each; with folds, also average over the folds.

    Processes that were started for the same tasks, for example one per GPU, share them: each trains what no
    other is training, then waits and takes over what another has left, until all is complete.

    Parameters
    ----------
    script : str
        The calling script, which the steps are named after.

    Raises
    ------
    UserError
        If a network was trained with other settings, or the network that one starts from is not finished; if
        another process is training one of the networks and this one replaces them (``--force``) or trains
        together with others (torchrun); and everything that training raises.
    """
    left = [
        (task, fold, f"{number} of {len(tasks)}")
        for number, task in enumerate(tasks, start=1)
        for fold in task.folds
    ]
    folds_left = Counter(task.name for task, *_ in left)
    waiting_for: list[str] = []
    while left:
        found, left = left, []
        for task, fold, position in found:
            others = {(other.name, taken.number) for other, taken, _ in left}
            if (task.start_from, fold.number) in others or not _try_fold(task, fold, script, position):
                left.append((task, fold, position))
                continue
            folds_left[task.name] -= 1
            if not folds_left[task.name]:
                _finish(task, script)
        if len(left) == len(found):
            names = [_name(task, fold) for task, fold, _ in left]
            if names != waiting_for:
                info(f"waiting for other processes, which train {', '.join(names)}")
            waiting_for = names
            time.sleep(WAITING_SECONDS)


def _name(task: Task, fold: Fold) -> str:
    return " ".join(filter(None, (task.name, fold.folder)))


def _try_fold(task: Task, fold: Fold, script: str, position: str) -> bool:
    """Train a fold's network unless that is complete; return False if another process is training it."""
    try:
        with files.lock(task.folder(fold)) if distributed.is_primary() else nullcontext():
            _run_fold(task, fold, script, position)
    except InUseError:
        if distributed.WORLD > 1 or task.run.force:
            raise
        return False
    return True


def _finish(task: Task, script: str) -> None:
    """Complete a task whose folds are complete."""
    if task.folds[0].number is not None:
        with task.run.in_turn():
            _average_folds(task, script)
    if distributed.is_primary():
        task.write_predictors()
    # no process reads what is not written yet: the next network may start from these weights
    distributed.barrier()


def _run_fold(task: Task, fold: Fold, script: str, position: str) -> None:
    run, data = task.run, task.training.data
    name = _name(task, fold)
    rows = (task.truth_NO, fold.train, fold.validation)
    inputs = task.training.inputs | {"selection of samples and labels": files.fingerprint_arrays(*rows)}
    if task.start_from:
        inputs |= _start_weights(task, fold, script)
    outputs = [task.fold_table(fold, subset, views) for views, subset in data.predictions_with(task.views)]
    if run.config.is_network:
        outputs += [task.folder(fold) / file for file in ("model.json", "weights.safetensors")]

    def train_and_predict(step: Step) -> None:
        from lib.figures import data_and_training as figures
        from lib.learning.train_and_predict import train_and_predict  # torch takes seconds

        info(f"{name} ({position}):")
        history, probabilities = train_and_predict(task, fold, step.identity)
        if not distributed.is_primary():
            return
        if history is not None:
            figure, loss = run.figure(f"training_{name.replace(' ', '_')}"), run.config.training.loss
            figures.training_curves(figure, history, loss, f"{name}: {run.data_name}")
        for (views, subset), probabilities_NO in probabilities.items():
            table = task.as_table(data.ids(subset, fold), probabilities_NO)
            predictions.save(task.fold_table(fold, subset, views), table)

    done = run.once(
        f"{script} {name}",
        train_and_predict,
        settings=SETTINGS_OF_NETWORKS if run.config.is_network else SETTINGS_OF_TREES,
        inputs=inputs,
        outputs=outputs,
    )
    if distributed.is_primary():
        # until everything is written, it saves a run that is interrupted the training
        (task.folder(fold) / "state.pt").unlink(missing_ok=True)
    if not done:
        info(f"{name} and its predictions are up to date")


def _start_weights(task: Task, fold: Fold, script: str) -> dict[str, str]:
    """Return the fingerprint of weights that a network starts from; a `UserError` unless they are final."""
    run = task.run
    name = " ".join(filter(None, (script, task.start_from, fold.folder)))
    if not steps.is_finished(run.manifest(name), f"{script}.py"):
        raise UserError(
            f"{task.name} starts from the weights of {task.start_from}, which is not finished: "
            f"run `python {script}.py --network {task.start_from}` first"
        )
    weights = run.network(task.start_from) / fold.folder / "weights.safetensors"
    return {f"{task.start_from} (weights)": files.fingerprint_file(weights)}


def _average_folds(task: Task, script: str) -> None:
    """Concatenate the folds' predictions of validation, and average those of the other subsets."""
    data = task.training.data
    pairs = data.predictions_with(task.views)
    tables = [task.fold_table(fold, subset, views) for fold in task.folds for views, subset in pairs]

    def average(_step: Step) -> None:
        for views, subset in pairs if distributed.is_primary() else ():
            paths = [task.fold_table(fold, subset, views) for fold in task.folds]
            found = [predictions.load(path, task.columns) for path in paths]
            table = predictions.average(found, data.ids(subset), f"the {subset} subset")
            predictions.save(task.table(subset, views), table)

    inputs = {}
    if distributed.is_primary():
        inputs = {str(path.relative_to(task.run.folder)): files.fingerprint_file(path) for path in tables}
    task.run.once(
        f"{script} {task.name} folds",
        average,
        inputs=inputs,
        outputs=[task.table(subset, views) for views, subset in pairs],
        rebuild=True,
    )
