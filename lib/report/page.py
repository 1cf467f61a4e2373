"""The report page of a run: one HTML file, made from what the stages left in the run's folder.

Results of stages that were not run are left out. Nothing is computed here but means and sums.
"""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib import files
from lib.config import list_differences, list_settings
from lib.errors import UserError
from lib.evaluation import confusion, predictor_scores
from lib.evaluation.predictions import Predictor
from lib.hierarchy import evaluation as hierarchy_evaluation
from lib.hierarchy.combination import HierarchyPredictions
from lib.labels import CLASSES
from lib.learning.network_spec import NetworkSpec
from lib.report import example_selection, html, paper_tables, score_notes
from lib.report.example_images import SCRIPT, ExampleList
from lib.report.run_report import RunReport
from lib.run import Invocation, Run
from lib.steps import Manifest

LISTED_CONFUSIONS = 12
OPEN = 2  # classes whose examples are unfolded at first
STAGES = {
    "00_prepare": "check, cache and split the images",
    "01_features": "compute biological features",
    "02_train_cnn": "train networks",
    "03_train_hier": "train the hierarchy",
    "04_threshold": "thresholds and evaluation",
    "05_submit": "submission and examples",
}


class Figure(NamedTuple):
    """A figure of the run's folder, by file name, and its caption on the page."""

    name: str
    caption: str


# figures by section of the page; missing ones are left out
FIGURES = {
    "predictors": (Figure("predictors", ""),),
    "each": (Figure("f1_*", ""), Figure("scores_*", "")),
    "confusions": (
        Figure("confusions", "Percentage of each true class (rows) with each predicted class (columns)."),
    ),
    "data": (
        Figure("class_counts", "Number of samples of each class."),
        Figure("labels_per_sample", "Number of classes per sample."),
        Figure("samples", "Samples: all channels merged, then each channel alone."),
        Figure("classes", "A simulated example of each class: all channels merged, and the protein alone."),
    ),
    "features": (
        Figure("features_by_class", "How well each feature alone separates each class from all others."),
        Figure("features_by_group", "Distribution of each feature by location group."),
        Figure("protein_in_nuclei", "Some samples' nuclei, and the protein inside and outside them."),
        Figure("segments", "Contours and fitted ellipses of the protein segments and the nuclei."),
    ),
    "training": (
        Figure("training_*", ""),
        Figure("macro_f1_over_epochs", "Macro-F1 over the epochs, and its highest value on validation."),
        Figure("schedules", "Learning rate of every step, without what early stopping changes."),
        Figure("learning_rates_*", "Loss over a growing learning rate, and the suggested rate."),
        Figure("network_*", "Layers of a network that takes biological features."),
    ),
    "hierarchy": (
        Figure("models*", "The networks: one for all classes, and those of the hierarchy."),
        Figure("groups*", "Stage 1: precision, recall and F1 of each location group."),
        Figure("within_groups*", "Stage 2 and a network of all classes, on the samples of each group."),
        Figure("advantages*", "Both stages together and a network of all classes, on all samples."),
    ),
    "reliability": (Figure("reliability", "Observed frequency of a class over its predicted probability."),),
    "submission": (
        Figure("submission", "Frequency of each class in the submission and in the training samples."),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Submission:
    """What a run submits.

    Attributes
    ----------
    predictor : str
    decision_NC : ndarray of shape (N, C), bool
        For the test samples.
    scores : dict of float
        Macro-F1 on Public, Private and All test samples; empty where their labels are unknown.
    known : str
        Score on test samples with known labels, as a sentence; empty if no table of them was named.
    """

    predictor: str
    decision_NC: np.ndarray
    scores: dict[str, float]
    known: str = ""


def write(report: RunReport, submission: Submission) -> None:
    """Write the page of a run."""
    run, folder = report.run, report.folder
    summary = predictor_summary(report)
    html.render(
        run.report,
        "report.html",
        run=run,
        report=report,
        submission=submission,
        summary=summary,
        of_duplicates=report.submitted(report.predictor(submission.predictor)).describe(),
        notes=score_notes.notes(
            report, predictor_scores.read_summary(run.evaluation("predictors")), submission.predictor
        ),
        warnings=score_notes.warnings(report),
        chosen_on=score_notes.chosen_on(report, Predictor.read(run.predictor(submission.predictor))),
        by_class=_by_class(report, [row["predictor"] for row in summary]),
        thresholds=_thresholds(report, submission.predictor),
        confusions=_confusions(run.evaluation("confusions"))[:LISTED_CONFUSIONS],
        papers=[
            {"title": shown.title, "rows": shown.rows(shown.read(run.evaluation(name)))}
            for name, shown in paper_tables.SHOWN.items()
            if run.evaluation(name).exists()
        ],
        others={
            one.name: hierarchy_evaluation.other_rows(
                hierarchy_evaluation.read_other(path, predictor_scores.SCRIPT)
            )
            for one in HierarchyPredictions.all_of(run, report.data)
            if (path := run.evaluation(f"other{one.suffix}")).exists()
        },
        examples=_examples(report),
        kinds=example_selection.KINDS,
        figures={section: _figures(folder, chosen) for section, chosen in FIGURES.items()},
        times=_times(folder, run.shared_manifests),
        commands=_commands(run),
        settings=list_settings(run.config),
        differences=list_differences(run.config),
        packages=_packages(folder),
    )


def predictor_summary(report: RunReport) -> list[dict[str, Any]]:
    """Return a row per predictor, best first: its scores by decision, confidence interval, description."""
    path = report.run.evaluation("predictors")
    table = predictor_scores.read_summary(path)
    table = table[table["subset"] == report.subset].set_index(["predictor", "decision"])
    if not len(table):
        raise files.damaged(path, f"it has no scores of {report.subset}", predictor_scores.SCRIPT)
    rows = []
    for predictor in table.index.unique("predictor"):
        if not report.run.predictor(predictor).exists():
            raise UserError(f"{path} lists {predictor}, which is gone: run `python 04_threshold.py` again")
        own = table.loc[predictor]
        scores = own["macro_f1"].to_dict()
        row = {"predictor": predictor, **own.loc["submitted"].to_dict(), **scores}
        rows.append(row | {"description": describe(report.run, predictor)})
    return sorted(rows, key=lambda row: -row["submitted"])


def describe(run: Run, name: str) -> str:
    """Return in a few words what a predictor of a run is made of."""
    predictor = Predictor.read(run.predictor(name))
    over = f"{predictor.crops} crops in " * bool(predictor.crops) + f"{predictor.views} flips and rotations"
    how = "maximum" if predictor.combine == "max" else "mean"
    views = f", {how} over {over}" if predictor.views > 1 else ""
    match predictor.kind:
        case "network":
            return f"network {predictor.network}{_architecture(run, predictor.network)}{views}"
        case "trees":
            return "gradient boosted trees on biological features"
        case "hierarchy":
            networks = ", ".join(predictor.stage_2.values())
            veto = ', without the groups that "other" removes' * bool(predictor.veto)
            routing = f"{predictor.routing} routing by {predictor.stage_1}"
            return f"{routing} to {networks or 'no network'}{veto}{views}"
        case "ensemble":
            mean = {"mean": "mean", "rank_mean": "mean rank", "weighted": "weighted mean"}[predictor.method]
            members = ", ".join(f"{name} ({weight:.2f})" for name, weight in predictor.members.items())
            return f"{mean} of {members}"
        case "external":
            return f"external predictions, from {', '.join(predictor.files)}"
        case "merged":
            return f"mean over the runs {', '.join(predictor.runs)}"
    raise ValueError(f"unknown kind of predictor {predictor.kind!r}")


def _architecture(run: Run, network: str) -> str:
    """Return architecture, size and number of folds of a network; empty if its checkpoint is gone."""
    checkpoints = run.checkpoints(network)
    if not checkpoints:
        return ""
    spec = NetworkSpec.read(checkpoints[0])
    folds = f", mean over {len(checkpoints)} folds" if len(checkpoints) > 1 else ""
    return f": {spec.architecture}, {spec.size} px{folds}"


def _confusions(path: Path) -> list[dict[str, Any]]:
    return confusion.read(path).to_dict("records") if path.exists() else []


def _figures(folder: Path, chosen: tuple[Figure, ...]) -> list[dict[str, Any]]:
    """Return path, name and caption of the existing figures."""
    return [
        {"path": path, "name": path.stem, "caption": figure.caption}
        for figure in chosen
        for path in sorted((folder / "figures").glob(f"{figure.name}.png"))
    ]


def _by_class(report: RunReport, names: list[str]) -> dict[str, Any]:
    """Return the F1 of submitted decisions for every class, by group, and predictor."""
    tables = {name: _read_classes(report, name) for name in names}
    first = tables[names[0]]
    groups = {
        group: [
            {
                "name": CLASSES[label],
                "support": int(first.loc[CLASSES[label], "support"]),
                "f1": {name: tables[name].loc[CLASSES[label], "f1"] for name in names},
            }
            for label in labels
            if label in report.data.classes
        ]
        for group, labels in report.groups.items()
    }
    mean = {name: table["f1"].mean() for name, table in tables.items()}
    return {"predictors": names, "groups": groups, "mean": mean}


def _thresholds(report: RunReport, predictor: str) -> list[dict[str, Any]]:
    """Return the effect of each class's threshold for a predictor, most frequent class first."""
    fixed, submitted = (_read_classes(report, predictor, decision) for decision in ("fixed", "submitted"))
    values = report.predictor(predictor).class_thresholds(report.subset)
    value_C = values if values.ndim == 1 else values.mean(axis=0)  # with folds
    rows = [
        {
            "name": name,
            "support": int(fixed.loc[name, "support"]),
            "threshold": value_C[CLASSES.index(name)],
            "before": fixed.loc[name, "f1"],
            "after": submitted.loc[name, "f1"],
            "predicted_before": int(fixed.loc[name, "predicted"]),
            "predicted_after": int(submitted.loc[name, "predicted"]),
        }
        for name in fixed.index
    ]
    return sorted(rows, key=lambda row: -row["support"])


def _read_classes(report: RunReport, predictor: str, decision: str = "submitted") -> pd.DataFrame:
    return predictor_scores.read_classes(
        report.folder, predictor, report.subset, report.data.classes, decision
    )


def _examples(report: RunReport) -> dict[str, Any] | None:
    """Return the example images by class, most frequent first, and kind, with the attributed network."""
    folder = report.folder / "examples"
    if not (folder / "examples.json").exists():
        return None
    content = ExampleList.read(folder, report.data.classes, SCRIPT)
    classes: dict[str, dict[str, list]] = {}
    for image in content.images:
        own = classes.setdefault(CLASSES[image.label], {kind: [] for kind in example_selection.KINDS})
        own[image.kind].append(asdict(image) | {"path": folder / image.file})
    scores = _read_classes(report, content.predictor)
    order = sorted(classes, key=lambda name: -scores.loc[name, "support"])
    rows = [
        {"name": name, "f1": scores.loc[name, "f1"], "support": int(scores.loc[name, "support"]),
         "kinds": classes[name], "open": position < OPEN}
        for position, name in enumerate(order)
    ]  # fmt: skip
    return {"classes": rows, "network": content.network, "predictor": content.predictor}


def _times(folder: Path, shared: list[Path]) -> dict[str, Any]:
    """Return the seconds of every stage and its steps, longest first, and the longest stage's."""
    steps: dict[str, dict[str, float]] = {}
    for path in [*shared, *sorted((folder / "manifests").glob("*.json"))]:
        manifest = _read_manifest(path)
        if not manifest.finished:
            continue
        script, _, step = manifest.step.partition(" ")
        if script not in STAGES:  # shared by several runs, and made by stage 00
            script, step = "00_prepare", f"{manifest.step}s"
        own = steps.setdefault(script, {})
        step = step or "the stage itself"
        own[step] = max(own.get(step, 0), manifest.seconds)  # arrays of all sizes are written together
    stages = [
        {
            "stage": stage,
            "description": description,
            "seconds": sum(steps[stage].values()),
            "steps": sorted(steps[stage].items(), key=lambda item: -item[1]),
        }
        for stage, description in STAGES.items()
        if stage in steps
    ]
    seconds = [stage["seconds"] for stage in stages]
    return {"stages": stages, "longest": max([*seconds, 1e-9]), "all": sum(seconds)}


def _commands(run: Run) -> list[str]:
    """Return the commands that reproduce a run; of a merged run, those of its members first."""
    folder, own = run.folder, Invocation.read(run.folder)
    members = own.merge
    if not members:
        return [shlex.join(["bash", "run_all.sh", *_options(own, folder)])]
    others = {name: Invocation.read(folder.parent / name) for name in members}
    return [
        *(
            shlex.join(["bash", "run_all.sh", "--to", "03", *_options(other, folder.with_name(name))])
            for name, other in others.items()
        ),
        shlex.join(["python", "04_threshold.py", *_options(own, folder), "--merge", *members]),
        shlex.join(["python", "05_submit.py", "--run", folder.name]),
    ]


def _options(invocation: Invocation, folder: Path) -> list[str]:
    words = ["--preset", invocation.preset, "--run", folder.name]
    # a folder within the one of --work, which holds outputs/<run>, is relative to that
    words += ["--data", str(folder.parent.parent / invocation.data)] if invocation.data else []
    return words + (["--set", *invocation.set] if invocation.set else [])


def _packages(folder: Path) -> dict[str, str]:
    """Return the package versions of the run's last step."""
    manifests = sorted((folder / "manifests").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return _read_manifest(manifests[-1]).packages if manifests else {}


def _read_manifest(path: Path) -> Manifest:
    """Read the manifest of a step of the run, or of one that several runs share, which stage 00 writes."""
    script = next((stage for stage in STAGES if path.stem.startswith(stage)), "00_prepare")
    return Manifest.read(path, f"{script}.py")
