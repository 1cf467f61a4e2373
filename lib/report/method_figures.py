"""Figures of what was trained and how: learning-rate schedules, and networks that take features."""

import json
from dataclasses import asdict

from lib import files
from lib.report.run_report import RunReport
from lib.sections import Training

STEPS = 50  # per epoch, of a schedule that is drawn


def draw(report: RunReport) -> None:
    """Draw the schedules of the networks that stage 02 has trained, and those networks that take features.

    These are figures 4 and 5 of Liu et al. 2018. What is up to date is not drawn again.
    """
    run = report.run
    trained = {name: run.config.for_network(name) for name in run.config.networks if run.checkpoints(name)}
    schedules: dict[str, list[str]] = {}
    for name, config in trained.items():
        if not config.training.epochs:  # a network that predicts as it is has no steps
            continue
        schedules.setdefault(json.dumps(_schedule(config.training)), []).append(name)
    if schedules:
        run.once(
            "05_submit schedules",
            lambda _step: _draw_schedules(report, list(schedules.values())),
            inputs={", ".join(names): schedule for schedule, names in schedules.items()},
            outputs=[run.figure("schedules")],
            rebuild=True,
        )
    for name, config in trained.items():
        if config.uses_features:
            run.once(
                f"05_submit network {name}",
                lambda _step, name=name: _draw_network(report, name),
                inputs=files.fingerprints(run.checkpoints(name)[0] / "model.json"),
                outputs=[run.figure(f"network_{name}")],
                rebuild=True,
            )


def _schedule(training: Training) -> dict[str, object]:
    """Return the settings that determine the learning rate of every step."""
    names = (
        "epochs", "learning_rate", "schedule", "warmup_epochs", "cycle_epochs", "cycle_growth",
        "early_stopping",
    )  # fmt: skip
    return {name: value for name, value in asdict(training).items() if name in names}


def _draw_schedules(report: RunReport, groups: list[list[str]]) -> None:
    from lib.figures import epochs  # this and torch take seconds to import
    from lib.learning import schedules

    curves = {}
    for names in groups:
        training = report.run.config.for_network(names[0]).training
        cycles = f", cycles of {training.cycle_epochs:g} epochs" * (training.schedule == "cyclical")
        warmup = f", {training.warmup_epochs:g} epochs of warm-up" * bool(training.warmup_epochs)
        stopping = ", until early stopping lowers it" * bool(training.early_stopping)
        title = f"{training.schedule}{cycles}{warmup}{stopping}: {', '.join(names)}"
        curves[title] = schedules.curve(training, STEPS)
    title = "Learning rate of every step"
    epochs.learning_rate_schedules(report.run.figure("schedules"), curves, title)


def _draw_network(report: RunReport, name: str) -> None:
    from lib.figures import network  # this and torch take seconds to import
    from lib.learning import models, outline

    model = models.load(report.run.checkpoints(name)[0])
    title = f"{name}: {model.spec.architecture} with features, {models.count_parameters(model):,} parameters"
    network.draw(report.run.figure(f"network_{name}"), outline.outline(model), title)
