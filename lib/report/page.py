"""A run's page: one HTML file that holds all it shows, made from what the stages left in its folder.

A stage that was not run is not on the page. Nothing is computed here but means and sums; no torch, no pixels.
"""

import base64
import io
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from lib import files
from lib.config import Config, list_settings
from lib.console import format_seconds
from lib.evaluation import ensemble, predictor_scores
from lib.labels import CLASSES
from lib.report import example_selection, paper_tables
from lib.report.run_report import Judge

PAIRS = 12  # confusions that are listed
LARGE_FIGURE = 150_000  # bytes of a figure without losses: what is larger shows images
OPEN = 2  # classes whose pictures are open at first
STAGES = {
    "00_prepare": "check, cache and deal the images",
    "01_features": "measure biological features",
    "02_train_cnn": "train networks",
    "03_train_hier": "train the hierarchy",
    "04_threshold": "thresholds and evaluation",
    "05_submit": "submission and pictures",
}


class Figure(NamedTuple):
    """A figure of the run's folder, by the name of its file, and what the page says beneath it."""

    name: str
    caption: str


# figures by section of the page; those that are not there are left out
FIGURES = {
    "predictors": (Figure("predictors", ""),),
    "each": (Figure("f1_*", ""), Figure("scores_*", "")),
    "confusions": (
        Figure("confusions", "Of a hundred samples that have a class, how many are given it and each other."),
    ),
    "data": (
        Figure("class_counts", "How many samples carry each class."),
        Figure("labels_per_sample", "How many classes a sample carries."),
        Figure("samples", "Samples: channels merged, then each alone."),
        Figure("classes", "A simulated example of each class: channels merged, and the protein alone."),
    ),
    "features": (
        Figure("features_by_class", "How well each feature alone tells each class from all others."),
        Figure("features_by_group", "How each feature is spread over the groups of classes."),
    ),
    "training": (
        Figure("training_*", ""),
        Figure("learning_rates_*", "The loss over growing learning rates, and the rate that it suggests."),
    ),
    "hierarchy": (
        Figure("groups", "Which groups of classes stage 1 says a sample belongs to."),
        Figure("within_groups", "Stage 2 beside the network of all classes, on the samples of each group."),
        Figure("advantages", "The whole hierarchy beside the network of all classes."),
    ),
    "reliability": (
        Figure("reliability", "How often a class is there, over the probability that is said."),
    ),
    "submission": (
        Figure("submission", "How often each class is given in the submission, and is there in training."),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What the page is about.

    Attributes
    ----------
    judge : Judge
        Of the run.
    config : Config
    begun : dict
        Preset, overrides and data folder that the run was begun with.
    predictor : str
        Whose decisions are submitted.
    decision_NC : ndarray of shape (N, C), bool
        Of the submission.
    test_scores : dict of float
        Macro-F1 that Kaggle would give, where the answers are known.
    simulated : bool
        Whether the data are simulated.
    shared : list of Path
        Manifests of work that several runs share.
    """

    judge: Judge
    config: Config
    begun: dict[str, Any]
    predictor: str
    decision_NC: np.ndarray
    test_scores: dict[str, float]
    simulated: bool
    shared: list[Path]


def write(path: Path, facts: Facts) -> None:
    """Write the page of a run."""
    judge, folder = facts.judge, facts.judge.folder
    summary = _summary(folder, judge.subset)
    render(
        path,
        "report.html",
        facts=facts,
        judge=judge,
        run=folder.name,
        summary=summary,
        weights=ensemble.read_weights(folder),
        by_class=_by_class(folder, judge, [row["predictor"] for row in summary]),
        thresholds=_thresholds(folder, judge.subset, facts.predictor),
        confusions=_table(folder / "evaluation" / "confusions.csv"),
        pairs=PAIRS,
        papers=[
            {"title": title, "rows": rows_of(pd.read_csv(path))}
            for name, (title, rows_of) in paper_tables.SHOWN.items()
            if (path := folder / "evaluation" / f"{name}.csv").exists()
        ],
        gallery=_gallery(folder),
        figures={section: _figures(folder, chosen) for section, chosen in FIGURES.items()},
        times=_times(folder, facts.shared),
        commands=_commands(folder, facts.begun),
        settings=list_settings(facts.config),
        packages=_packages(folder),
    )  # fmt: skip


def write_images(path: Path, judge: Judge, predictor: str, source: Path, locations: pd.DataFrame) -> None:
    """Write the page of new images that a predictor has looked at.

    Parameters
    ----------
    judge : Judge
        Of the predictor's run.
    source : Path
        The folder of the images.
    locations : DataFrame
        As `lib.learning.own_images.as_locations` returns it; ``pictures/`` lies beside the page.
    """
    content = files.read_json(path.parent / "pictures" / "pictures.json")
    given = {sample: rows.to_dict("records") for sample, rows in locations.groupby("id", sort=False)}
    pictures = [
        picture | {"path": path.parent / "pictures" / picture["file"], "locations": given[picture["id"]]}
        for picture in content["pictures"]
    ]
    score = next(row for row in _summary(judge.folder, judge.subset) if row["predictor"] == predictor)
    render(
        path,
        "images.html",
        judge=judge,
        run=judge.folder.name,
        predictor=predictor,
        source=source,
        network=content["network"],
        pictures=pictures,
        images=len(given),
        counts=locations["location"].value_counts().to_dict(),
        score=score,
    )


def render(path: Path, template: str, **context: Any) -> None:
    """Fill in one of the templates in ``pages/`` and write the page, whole or not at all.

    Templates have the filters ``f3`` (three digits after the point, a dash for what is not known), ``n``
    (thousands apart), ``percent``, ``seconds`` and ``picture`` (a file as a data URI).
    """
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("pages"))
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "f3": lambda value: "\N{EN DASH}" if pd.isna(value) else f"{value:.3f}",
        "n": lambda value: f"{value:,.0f}",
        "percent": lambda value: f"{value:.0%}",
        "seconds": format_seconds,
        "picture": _data_uri,
    }
    files.write_text(
        path, environment.get_template(template).render(kinds=example_selection.KINDS, **context)
    )


def _data_uri(path: Path) -> str:
    """Return a picture as text; a PNG as WebP, a third of the bytes, with losses only where it is large."""
    content = path.read_bytes()
    if path.suffix == ".png":
        with Image.open(path) as picture:
            drawn = _webp(picture, lossless=True)
            content = drawn if len(drawn) <= LARGE_FIGURE else _webp(picture, quality=85)
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def _webp(picture: Image.Image, **options: Any) -> bytes:
    with io.BytesIO() as file:
        picture.save(file, "WEBP", **options)
        return file.getvalue()


def _table(path: Path) -> list[dict[str, Any]]:
    return pd.read_csv(path).to_dict("records") if path.exists() else []


def _figures(folder: Path, chosen: tuple[Figure, ...]) -> list[dict[str, Any]]:
    """Return path, name and caption of the figures that are there."""
    return [
        {"path": path, "name": path.stem, "caption": figure.caption}
        for figure in chosen
        for path in sorted((folder / "figures").glob(f"{figure.name}.png"))
    ]


def _summary(folder: Path, subset: str) -> list[dict[str, Any]]:
    """Return a row a predictor, best first: its scores by way to decide, and their interval."""
    table = pd.read_csv(folder / "evaluation" / "predictors.csv")
    table = table[table["subset"] == subset].set_index(["predictor", "decision"])
    rows = []
    for predictor in table.index.unique("predictor"):
        own = table.loc[predictor]
        scores = own["macro_f1"].to_dict()
        rows.append({"predictor": predictor, **own.loc["submitted"].to_dict(), **scores})
    return sorted(rows, key=lambda row: -row["submitted"])


def _classes(folder: Path, subset: str, predictor: str, decision: str = "submitted") -> pd.DataFrame:
    path = folder / "evaluation" / f"{predictor}_classes.csv"
    return predictor_scores.read_classes(path, subset, decision)


def _by_class(folder: Path, judge: Judge, predictors: list[str]) -> dict[str, Any]:
    """Return F1 as submitted of every class, by group, and predictor."""
    tables = {name: _classes(folder, judge.subset, name) for name in predictors}
    first = tables[predictors[0]]
    groups = {
        group: [
            {
                "name": CLASSES[label],
                "support": int(first.loc[CLASSES[label], "support"]),
                "f1": {name: tables[name].loc[CLASSES[label], "f1"] for name in predictors},
            }
            for label in labels
            if label in judge.parts.classes
        ]
        for group, labels in judge.parts.groups.items()
    }
    mean = {name: table["f1"].mean() for name, table in tables.items()}
    return {"predictors": predictors, "groups": groups, "mean": mean}


def _thresholds(folder: Path, subset: str, predictor: str) -> list[dict[str, Any]]:
    """Return what each class's own threshold changes for a predictor, most frequent class first."""
    fixed, submitted = (_classes(folder, subset, predictor, decision) for decision in ("fixed", "submitted"))
    values = files.read_json(folder / "thresholds" / f"{predictor}.json")[subset]
    rows = [
        {
            "name": name,
            "support": int(fixed.loc[name, "support"]),
            "threshold": values[name],
            "before": fixed.loc[name, "f1"],
            "after": submitted.loc[name, "f1"],
            "given_before": int(fixed.loc[name, "predicted"]),
            "given_after": int(submitted.loc[name, "predicted"]),
        }
        for name in fixed.index
    ]
    return sorted(rows, key=lambda row: -row["support"])


def _gallery(folder: Path) -> dict[str, Any] | None:
    """Return the pictures by class, most frequent first, and kind, with which network looked."""
    path = folder / "pictures" / "pictures.json"
    if not path.exists():
        return None
    content = files.read_json(path)
    classes: dict[str, dict[str, list]] = {}
    for picture in content["pictures"]:
        own = classes.setdefault(CLASSES[picture["label"]], {kind: [] for kind in example_selection.KINDS})
        own[picture["kind"]].append(picture | {"path": path.parent / picture["file"]})
    scores = _classes(folder, content["subset"], content["predictor"])
    order = sorted(classes, key=lambda name: -scores.loc[name, "support"])
    rows = [
        {"name": name, "f1": scores.loc[name, "f1"], "support": int(scores.loc[name, "support"]),
         "kinds": classes[name], "open": place < OPEN}
        for place, name in enumerate(order)
    ]  # fmt: skip
    return {"classes": rows, "network": content["network"], "predictor": content["predictor"]}


def _times(folder: Path, shared: list[Path]) -> dict[str, Any]:
    """Return the seconds of every stage and its steps, longest first, and the longest stage's."""
    steps: dict[str, dict[str, float]] = {}
    for path in [*shared, *sorted((folder / "manifests").glob("*.json"))]:
        manifest = files.read_json(path)
        if not manifest["finished"]:
            continue
        name, _, part = manifest["step"].partition(" ")
        stage, part = (name, part or "all else") if name in STAGES else ("00_prepare", manifest["step"] + "s")
        own = steps.setdefault(stage, {})
        own[part] = max(own.get(part, 0), manifest["seconds"])  # arrays of several sizes are made at once
    stages = [
        {
            "stage": stage,
            "what": what,
            "seconds": sum(steps[stage].values()),
            "steps": sorted(steps[stage].items(), key=lambda item: -item[1]),
        }
        for stage, what in STAGES.items()
        if stage in steps
    ]
    seconds = [stage["seconds"] for stage in stages]
    return {"stages": stages, "longest": max([*seconds, 1e-9]), "all": sum(seconds)}


def _commands(folder: Path, begun: dict[str, Any]) -> list[str]:
    """Return what makes this run again; of a run that joins others, what makes those first."""
    members = files.read_json(folder / "run.json").get("join", [])
    if not members:
        return [shlex.join(["bash", "run_all.sh", *_options(begun, folder.name)])]
    others = {name: files.read_json(folder.parent / name / "run.json") for name in members}
    return [
        *(shlex.join(["bash", "run_all.sh", "--to", "03", *_options(b, name)]) for name, b in others.items()),
        shlex.join(["python", "04_threshold.py", *_options(begun, folder.name), "--join", *members]),
        shlex.join(["python", "05_submit.py", "--run", folder.name]),
    ]


def _options(begun: dict[str, Any], run: str) -> list[str]:
    words = ["--preset", begun["preset"], "--run", run]
    words += ["--data", begun["data"]] if begun["data"] else []
    return words + (["--set", *begun["set"]] if begun["set"] else [])


def _packages(folder: Path) -> dict[str, str]:
    """Return the versions of the packages that the run's last step was made with."""
    manifests = sorted((folder / "manifests").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return files.read_json(manifests[-1])["packages"] if manifests else {}
