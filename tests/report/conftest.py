"""Finished runs, on random images and predictions, that the tests of the report share."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.special import expit

from lib import cli, files, location_groups
from lib.data.run_data import RunData
from lib.evaluation import predictions
from lib.evaluation.predictions import PredictionTable, Predictor, table_path
from lib.figures import scores
from lib.hierarchy import predictors
from lib.hierarchy.combination import HierarchyPredictions
from lib.labels import CLASSES
from lib.report.run_report import RunReport
from lib.run import Run
from lib.steps import Step
from tests.conftest import call, write_kaggle

SIZE = 16  # of the images, in pixels
LABELS = (0, 2, 5, 7, 14, 16, 23, 25, 6, 20, 21)  # that samples have, from all location groups
# what the finished run evaluates
PREDICTORS = ["baseline", "ensemble", "features_alone", "hierarchy_hard", "hierarchy_soft"]
# the run keeps only the classes that occur
SETTINGS = (f"data.sizes={SIZE}", f"training.size={SIZE}", "split.rare_class_minimum=0.01")


def write_labels(raw: Path, train: int, test: int) -> None:
    """Give the samples of a folder in Kaggle's layout random labels, also those of the test set."""
    random = np.random.default_rng(0)

    def draw(count: int) -> list[str]:
        targets = [set(random.choice(LABELS, 1 + row % 2, replace=False)) for row in range(count)]
        return [" ".join(map(str, sorted(labels))) for labels in targets]

    ids = [f"a{row:02d}" for row in range(train)]
    pd.DataFrame({"Id": ids, "Target": draw(train)}).to_csv(raw / "train.csv", index=False)
    ids, usage = [f"t{row:02d}" for row in range(test)], ["Public", "Private", "Private"] * test
    solution = pd.DataFrame({"Id": ids, "Target": draw(test), "Usage": usage[:test]})
    solution.to_csv(raw / "solution.csv", index=False)


def start(*options: object) -> Run:
    """Return a run as stage 04 starts it."""
    parser = cli.network_parser("Stage 04: test. \n")
    parser.add_argument("--add", nargs="+")
    return cli.start(parser, [str(option) for option in options])


def restart(run: Run, *settings: str) -> list[object]:
    """Return the options that continue an existing run, with further settings."""
    options = ["--work", run.folder.parents[1], "--run", run.folder.name, "--workers", 1]
    return [*options, "--set", *settings] if settings else options


def write_predictions(folder: Path, data: RunData, predictor: Predictor, seed: int, _step: Step) -> None:
    """Write a predictor whose probabilities follow the labels more or less; those of test are random."""
    random = np.random.default_rng(seed)
    for subset in data.predicted_subsets:
        ids = data.ids(subset)
        truth_NC = np.zeros((len(ids), 28)) if subset == "test" else data.truth_NC(subset)
        logit_NC = 2.5 * truth_NC - 2.5 + random.normal(0, 0.7, truth_NC.shape)
        logit_NC[::4] -= 4  # below every threshold: "at least one label" makes a difference
        save(folder / f"{subset}.npz", ids, expit(logit_NC), random)
    predictor.write(folder)


def save(path: Path, ids: list[str], probabilities_NC: np.ndarray, random: np.random.Generator) -> None:
    """Write a prediction table in random order: rows are matched by id."""
    order = random.permutation(len(ids))
    predictions.save(path, PredictionTable([ids[row] for row in order], probabilities_NC[order]))


def write_hierarchy(run: Run, data: RunData) -> None:
    """Write the predictions of the networks of a hierarchy, and combine them."""
    random = np.random.default_rng(9)
    hierarchy = HierarchyPredictions(run.folder / "networks", run.config.hierarchy, data)
    for subset in data.predicted_subsets:
        ids = data.ids(subset)
        truth_NC = np.zeros((len(ids), 28), bool) if subset == "test" else data.truth_NC(subset)
        truth_NG = location_groups.membership(truth_NC, data.groups)
        groups_NG = expit(3 * truth_NG - 1.5 + random.normal(size=truth_NG.shape))
        save(table_path(run.network("stage_1"), subset, 1), ids, groups_NG, random)
        for network in hierarchy.stage_2(other=False).values():
            within_NC = expit(3 * truth_NC - 2 + random.normal(size=truth_NC.shape))
            save(table_path(run.network(network), subset, 1), ids, within_NC, random)
    predictors.write_predictors(run, data, "03_train_hier")


def write_network(folder: Path) -> None:
    """Write an untrained network of all classes."""
    from lib.learning import devices, models
    from lib.learning.network_spec import NetworkSpec
    from lib.sections import Network

    devices.make_deterministic(0)
    spec = NetworkSpec("test_resnet", "RGBY", SIZE, "standard", list(CLASSES), list(range(28)))
    model = models.build(spec, Network(architecture="test_resnet"), [20.0] * 4, [30.0] * 4)
    model.spec.write(folder)
    models.save_weights(folder / "weights.safetensors", model.state_dict())


def predict(run: Run) -> None:
    """Let the networks of a run have predicted: a network, trees and, in a single split, a hierarchy."""
    data = RunData.read(run)
    for seed, predictor in enumerate(
        [Predictor("network", "baseline"), Predictor("trees", "features_alone")]
    ):
        folder = run.predictor(predictor.network)
        write = functools.partial(write_predictions, folder, data, predictor, seed)
        outputs = [folder / f"{subset}.npz" for subset in data.predicted_subsets]
        run.once(f"02_train_cnn {predictor.network}", write, inputs={}, outputs=outputs)
    for fold in data.folds:
        write_network(run.network("baseline") / fold.folder)
    if not data.has_folds:
        write_hierarchy(run, data)
    for name in ("features_by_class", "training_baseline"):
        write_pixel(run.figure(name))


DRAWN = Figure.savefig  # what saves a figure as it is drawn


def write_pixel(path: Path) -> None:
    """Write a figure of one pixel."""
    Image.new("RGB", (1, 1), "white").save(path, "PNG")


def save_pixel(_figure: Figure, path: Path, **_options: object) -> None:
    """Save one pixel in place of a figure; tests/figures tests what figures show."""
    write_pixel(path)


@pytest.fixture(autouse=True)
def pixels_for_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figures, which takes most of the time of stages 00, 04 and 05."""
    monkeypatch.setattr(Figure, "savefig", save_pixel)


@pytest.fixture(scope="session")
def raw_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in Kaggle's layout with 60 labelled and 12 test samples, as if they were simulated."""
    raw = write_kaggle(tmp_path_factory.mktemp("report") / "raw", train=60, test=12, size=SIZE)
    write_labels(raw, 60, 12)
    settings = {"simulation.name": "raw"}
    manifest = {"step": "simulated data set", "finished": True, "seconds": 1.5, "settings": settings}
    manifest |= {"inputs": {}, "packages": {}}
    files.write_json(raw / "simulation.json", manifest)
    return raw


def finish(raw: Path, name: str, *settings: str, submit: tuple[str, ...] = ()) -> Run:
    """Make a finished run: its split, predictions, evaluation, and what stage 05 makes with options."""
    options = ["--preset", "smoke", "--data", raw, "--work", raw.parent, "--run", name, "--workers", 1]
    options += ["--set", *SETTINGS, *settings]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_pixel)
        call("00_prepare", *options)
        run = start(*options)
        predict(run)
        call("04_threshold", *options)
        call("05_submit", *options, *submit)
    return run


@pytest.fixture(scope="session")
def finished(raw_images: Path) -> Run:
    """A finished run with a holdout, trees, a network, a hierarchy and an ensemble; tests only read it."""
    return finish(raw_images, "single", "hierarchy.train=stages")


@pytest.fixture(scope="session")
def folded(raw_images: Path) -> Run:
    """A run of three folds without a holdout, of a network and trees, without a page; tests only read it."""
    more = ("split.folds=3", "split.holdout=0", "hierarchy.train=none", "ensemble.members=none")
    return finish(raw_images, "folded", *more, submit=("--no-report",))


@pytest.fixture
def copied(finished: Run, tmp_path: Path) -> Run:
    """A copy of the finished run that a test may change, with the same images."""
    shutil.copytree(finished.folder, tmp_path / "outputs" / finished.folder.name)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cache").symlink_to(finished.cache.parent)
    (tmp_path / finished.source.name).symlink_to(finished.source)
    return start("--work", tmp_path, "--run", finished.folder.name)


def report_of(run: Run) -> RunReport:
    return RunReport.of(run, RunData.read(run))


def read(run: Run, name: str) -> pd.DataFrame:
    """Read a table of a run's evaluation."""
    return pd.read_csv(run.evaluation(name))


def assert_equal(table: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Compare tables as the files round them."""
    expected = expected.reset_index(drop=True)
    pd.testing.assert_frame_equal(table, expected, check_dtype=False, atol=2e-6, rtol=0)


def submitted_predictor(run: Run) -> str:
    """Return the predictor whose examples are on the page."""
    return json.loads((run.folder / "examples" / "examples.json").read_text())["predictor"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple]:
    """Note what is drawn instead of figures of scores: arguments by the name of the function."""
    calls = {}
    for name in ("class_f1", "class_scores", "predictors", "reliability", "confusions", "group_scores",
                 "within_groups", "class_advantages"):  # fmt: skip

        def note(path, *arguments, name=name):
            calls[name] = (path, *arguments)
            files.write_text(path, "a figure")

        monkeypatch.setattr(scores, name, note)
    return calls
