"""Tasks carried out, one after another or several at once, unless they are done."""

import os
import sys

from lib import distributed, files, parallel
from lib.cli import ROOT, Run
from lib.console import say
from lib.errors import UserError
from lib.evaluation import predictions
from lib.learning.task import Task, suffixes
from lib.ranks import WORLD


def carry_out_all(tasks: list[Task], run: Run, stage: str, argv: list[str] | None) -> None:
    """Carry out tasks one after another, or as many at once as ``--parallel`` says.

    At once, each is a process of the same script; those that start from another's weights come second.

    Parameters
    ----------
    stage : str
        The script's name.
    argv : list of str or None
        Its command line, as its ``main`` was given it.
    """
    at_once = run.options.parallel
    if at_once == 1:
        for number, task in enumerate(tasks, start=1):
            carry_out(task, stage, f"{number} of {len(tasks)}")
        return
    if WORLD > 1:
        raise UserError("--parallel trains networks apart, torchrun trains each together: use one of them")
    command = [sys.executable, str(ROOT / f"{stage}.py"), *(sys.argv[1:] if argv is None else argv)]
    command += ["--parallel", "1", "--within", "--network"]
    for later in (False, True):
        wave = [task.name for task in tasks if bool(task.start) == later]
        parallel.programs({name: [*command, name] for name in wave}, at_once, _place)


def _place(number: int, at_once: int) -> dict[str, str]:
    """Return the environment of one of several programs: a GPU where there are, its share of the cores."""
    from torch import cuda

    cores = max((os.cpu_count() or 1) // at_once, 1)
    shown = {"CUDA_VISIBLE_DEVICES": str(number % cuda.device_count())} if cuda.device_count() > 1 else {}
    return {"OMP_NUM_THREADS": str(cores)} | shown


def carry_out(task: Task, stage: str, which: str) -> None:
    """Train a network and let it predict every subset, unless that is done.

    Parameters
    ----------
    stage : str
        The script's name.
    which : str
        Shown beside the network's name.

    Raises
    ------
    UserError
        If another process is at it, it was made with other settings, or the network that it starts from
        is not finished; and whatever training raises.
    """
    run, material = task.run, task.material
    chosen = (task.truth_NO, task.train, task.validation)
    inputs = material.inputs | {"choice of samples and labels": files.fingerprint_arrays(*chosen)}
    if task.start:
        first = run.manifest(f"{stage} {task.start}")
        if not first.exists() or not files.read_json(first)["finished"]:
            raise UserError(
                f"{task.name} starts from the weights of {task.start}, which is not finished: "
                f"run `python {stage}.py --network {task.start}` first"
            )
        inputs[f"{task.start} (weights)"] = files.fingerprint_file(run.network(task.start) / "weights.pt")
    outputs = [
        task.table(subset, suffix) for suffix in suffixes(run) for subset in (*material.subsets, "test")
    ]
    if run.config.is_network:
        outputs.append(task.folder / "weights.pt")
    step = run.step(f"{stage} {task.name}", ["network", "training"], inputs, outputs)
    with files.lock(task.folder):
        if distributed.agree(step.done(run.force)):
            say(f"{task.name} and its predictions are up to date")
            return
        from lib.figures import data_and_training
        from lib.learning import train_and_predict  # torch takes seconds

        say(f"{task.name} ({which}):")
        history, found = train_and_predict.train_and_predict(task, step.identity)
        if history is not None:
            title = f"{task.name}: {run.data_name}"
            data_and_training.training_curves(
                run.figure(f"training_{task.name}"), history, run.config.training.loss, title
            )
        for suffix, parts in found.items():
            for subset, probabilities_NO in parts.items():
                table = task.as_table(material.ids(subset), probabilities_NO)
                predictions.save(task.table(subset, suffix), table)
        step.finish()
    distributed.wait()  # the next may start from this one's weights
