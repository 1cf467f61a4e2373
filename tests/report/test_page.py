"""The page of a run: one file, complete, with the numbers of the tables, and without what was not run."""

import dataclasses
import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib import files
from lib.errors import UserError
from lib.evaluation import submission, thresholds
from lib.evaluation.metrics import class_scores
from lib.evaluation.predictions import Predictor
from lib.figures import data_and_training, scores
from lib.figures.thumbnails import tile
from lib.labels import CLASSES, LOCATION_GROUPS
from lib.report import example_images, html, page
from lib.report.example_selection import KINDS
from lib.simulation import dataset
from tests.conftest import call, write_kaggle
from tests.report.conftest import DRAWN, LABELS, report_of, restart, start, submitted_predictor

VOID = {"meta", "link", "img", "br", "wbr"}
CLOSED = {"p", "td", "th", "li", "tr", "section", "h1", "h2", "h3", "div", "table", "summary"}


class Page(HTMLParser):
    """What a browser shows: ids, texts, tables, and where pictures come from; tags must match.

    Attributes
    ----------
    tables : dict of list of list of list of str
        The rows of cells of each table, by section.
    """

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.sources, self.texts, self.tables = [], [], [], [], {}
        self.feed(text)
        assert not self.open
        self.text = " ".join("".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.sources += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            assert attributes["alt"], "every picture says what it shows"
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.setdefault(self.ids[-1], []).append([])
        elif tag == "tr":
            self.tables[self.ids[-1]][-1].append([])
        elif tag in ("td", "th"):
            self.tables[self.ids[-1]][-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.texts += [" "] * (tag in CLOSED)

    def handle_data(self, text):
        if not {"style", "script"} & set(self.open):
            self.texts.append(text)
            if {"td", "th"} & set(self.open):
                self.tables[self.ids[-1]][-1][-1][-1] += text


@pytest.fixture(scope="module")
def shown(finished):
    return Page(finished.report.read_text())


def submitted(run):
    """Return what a run submits, as stage 05 does."""
    report, predictor = report_of(run), submitted_predictor(run)
    ids = report.data.ids("test")
    decision_NC = submission.check(run.submission, ids)
    return page.Submission(predictor, decision_NC, submission.score(ids, decision_NC, run.solution))


def rewritten(run):
    """Write the page again; return it."""
    page.write(report_of(run), submitted(run))
    return Page(run.report.read_text())


def classes_of(run, predictor, decision="submitted"):
    table = pd.read_csv(run.evaluation(f"{predictor}_classes"))
    return table[(table["subset"] == "holdout") & (table["decision"] == decision)].set_index("class")


def predictors_of(run, subset="holdout"):
    table = pd.read_csv(run.evaluation("predictors"))
    return table[table["subset"] == subset].set_index(["predictor", "decision"])


# the whole page


def test_it_is_one_file_that_asks_for_no_other(shown):
    pictures = {source.split(",")[0] for source in shown.sources if source.startswith("data:image")}
    assert pictures == {"data:image/webp;base64"}
    anchors = {source[1:] for source in shown.sources if source.startswith("#")}
    assert anchors == set(shown.ids)
    assert {source for source in shown.sources if not source.startswith(("data:", "#"))} == set()


def test_it_has_every_section_and_every_figure(finished, shown):
    assert shown.ids == [
        "score", "predictors", "examples", "thresholds", "confusions", "data", "features", "training",
        "hierarchy", "time", "reproduce",
    ]  # fmt: skip
    figures = len(list((finished.folder / "figures").glob("*.png")))
    examples = len(files.read_json(finished.folder / "examples" / "examples.json")["images"])
    assert len([source for source in shown.sources if source.startswith("data:image")]) == figures + examples
    assert figures > 15 and examples > 30


def test_the_score_comes_first_with_data_predictor_and_interval(finished, shown):
    predictor = submitted_predictor(finished)
    row = predictors_of(finished).loc[(predictor, "submitted")]
    head = shown.text.split("All predictors")[0]
    for piece in (
        f"{row['macro_f1']:.3f} macro-F1 of {predictor} on {row['samples']:.0f} samples of holdout",
        f"{row['low']:.3f} to {row['high']:.3f}",
        f"{row['guessing_macro_f1']:.3f}",
        "Simulated cells.",
        "unweighted mean of the F1 scores of 11 classes",
        "holdout was not used for training or tuning",
    ):
        assert piece in head, piece
    scores = submitted(finished).scores
    assert f"{scores['All']:.3f} macro-F1 of submission.csv on the 12 test samples, simulated cells" in head
    assert f"public {scores['Public']:.3f}, private {scores['Private']:.3f}" in head
    labels = pd.read_csv(finished.submission)["Predicted"].str.split().str.len().mean()
    assert f"12 rows, {labels:.2f} labels per row" in head


# its tables


def test_networks_that_have_seen_the_scored_samples_are_a_warning_above_the_score(copied, monkeypatch):
    monkeypatch.setattr(page.score_notes, "warnings", lambda _report: ["It has seen <all> of them."])
    head = rewritten(copied).text.split("macro-F1 of")[0]
    assert "Not an honest score. It has seen <all> of them." in head


def test_the_table_of_predictors_is_that_of_the_comparison(finished, shown):
    table, rows = predictors_of(finished), shown.tables["predictors"][0]
    expected = []
    for name in table.index.unique("predictor"):
        one, own = table.loc[(name, "submitted")], table.loc[name]["macro_f1"]
        expected.append([
            name, f"{own['submitted']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}", f"{own['tuned']:.3f}",
            f"{own['fixed']:.3f}", f"{one['labels_per_sample']:.2f}",
        ])  # fmt: skip
    assert sorted(rows[1:]) == sorted(expected) and len(expected) == 5
    ranked = [float(row[1]) for row in rows[1:]]
    assert ranked == sorted(ranked, reverse=True)
    assert rows[0] == [
        "macro-F1 on holdout", "submitted", "95 % CI", "tuned thresholds", "0.5 for all classes",
        "predicted labels per sample",
    ]  # fmt: skip


def test_every_predictor_is_described(finished, shown):
    weights = Predictor.read(finished.predictor("ensemble")).members
    listed = ", ".join(f"{name} ({weight:.2f})" for name, weight in weights.items())
    stage_2 = "stage_2_nucleus, stage_2_cytoplasm, stage_2_secretory"
    for text in (
        "baseline: network baseline: test_resnet, 16 px",
        "features_alone: gradient boosted trees",
        f"ensemble: weighted mean of {listed}",
        f"hierarchy_hard: hard routing by stage_1 to {stage_2}",
        f"hierarchy_soft: soft routing by stage_1 to {stage_2}",
    ):
        assert text in shown.text, text


def test_the_f1_of_every_class_and_predictor_is_that_of_its_table(finished, shown):
    rows = shown.tables["predictors"][1]
    names = rows[0][2:]
    assert names == [row[0] for row in shown.tables["predictors"][0][1:]]
    tables = {name: classes_of(finished, name) for name in names}
    groups = [row[0] for row in rows if len(row) == 1]
    assert groups == list(LOCATION_GROUPS)
    listed = [row for row in rows[1:-1] if len(row) > 1]
    assert sorted(row[0] for row in listed) == sorted(CLASSES[label] for label in LABELS)
    for name, support, *values in listed:
        assert support == str(tables[names[0]].loc[name, "support"])
        assert values == [f"{tables[predictor].loc[name, 'f1']:.3f}" for predictor in names], name
    assert rows[-1] == ["mean", "", *(f"{tables[predictor]['f1'].mean():.3f}" for predictor in names)]


def test_the_effect_of_each_threshold_is_that_of_the_tables(finished, shown):
    predictor, (rows,) = submitted_predictor(finished), shown.tables["thresholds"]
    fixed, own = (classes_of(finished, predictor, decision) for decision in ("fixed", "submitted"))
    values = files.read_json(finished.thresholds(predictor))["holdout"]
    expected = [
        [
            name, f"{values[name]:.3f}", f"{fixed.loc[name, 'f1']:.3f}", f"{own.loc[name, 'f1']:.3f}",
            f"{own.loc[name, 'f1'] - fixed.loc[name, 'f1']:+.3f}", str(own.loc[name, "support"]),
            str(fixed.loc[name, "predicted"]), str(own.loc[name, "predicted"]),
        ]
        for name in own.index
    ]  # fmt: skip
    assert sorted(rows[1:-1]) == sorted(expected)
    support = [int(row[5]) for row in rows[1:-1]]
    assert support == sorted(support, reverse=True), "the most frequent class comes first"
    means = predictors_of(finished)["macro_f1"][predictor]
    change = f"{means['submitted'] - means['fixed']:+.3f}"
    assert rows[-1][2:5] == [f"{means['fixed']:.3f}", f"{means['submitted']:.3f}", change]


def test_confusions_are_listed_worst_first(copied):
    names = CLASSES[:15]
    table = pd.DataFrame(
        {"class": names, "predicted_as": names[::-1], "samples": range(20, 5, -1),
         "share": [0.5 - 0.02 * row for row in range(15)], "lift": 2.5, "missed": 3}
    )  # fmt: skip
    files.write_csv(copied.evaluation("confusions"), table)
    (rows,) = rewritten(copied).tables["confusions"]
    assert rows[0] == [
        "true class",
        "wrongly predicted class",
        "samples",
        "share",
        "lift",
        "true class missed",
    ]
    assert len(rows) == 1 + page.LISTED_CONFUSIONS
    assert rows[1] == [names[0], names[14], "20", "50%", "2.5", "3"]
    files.write_csv(copied.evaluation("confusions"), table[:0])
    shown = rewritten(copied)
    assert "confusions" not in shown.tables and "No pair of classes" in shown.text


def test_seconds_are_those_of_the_manifests(copied):
    path = copied.manifest("02_train_cnn baseline")
    files.write_json(path, files.read_json(path) | {"seconds": 75.0})
    unfinished = copied.manifest("02_train_cnn features_alone")
    files.write_json(unfinished, files.read_json(unfinished) | {"seconds": 99.0, "finished": False})
    stages, steps = rewritten(copied).tables["time"]
    seconds = {row[0]: row[-1] for row in stages}
    assert list(seconds) == [
        "00_prepare",
        "02_train_cnn",
        "03_train_hier",
        "04_threshold",
        "05_submit",
        "total",
    ]
    assert seconds["02_train_cnn"] == "1 min 15 s"
    assert ["02_train_cnn", "baseline", "1 min 15 s"] in steps
    assert ["00_prepare", "simulated data sets", "1.5 s"] in steps
    assert {row[1] for row in steps if row[0] == "00_prepare"} >= {"arrays", "the stage itself"}


def test_settings_seeds_versions_and_commands_reproduce_the_run(finished, shown):
    assert "Seeds: split 0, training 0" in shown.text and "numpy " in shown.text
    settings = {row[0]: row[1:] for row in shown.tables["reproduce"][0]}
    assert settings["training.size"][0] == "16" and settings["training.epochs"][0] == "2"
    assert "passes over the training samples" in settings["training.epochs"][1]
    assert re.search(r"features_alone \(.*network\.kind=trees", shown.text)
    assert re.search(r"stage_1_single \(.*training\.loss=cross_entropy", shown.text), "of the hierarchy too"
    command = ["bash", "run_all.sh", "--preset", "smoke", "--run", "single", "--data", str(finished.source)]
    assert shlex.join([*command, "--set", *finished.invocation.set]) in shown.text
    assert "python 05_submit.py --run single" in shown.text


# what was not run, and other runs


def test_sections_of_stages_that_were_not_run_are_left_out(copied):
    for name in (
        "features_by_class",
        "training_baseline",
        "models",
        "schedules",
        "groups",
        "within_groups",
        "advantages",
    ):
        copied.figure(name).unlink()
    shutil.rmtree(copied.folder / "examples")
    decision_NC = submission.check(copied.submission, report_of(copied).data.ids("test"))
    page.write(report_of(copied), page.Submission("baseline", decision_NC, {}))
    shown = Page(copied.report.read_text())
    assert shown.ids == ["score", "predictors", "thresholds", "confusions", "data", "time", "reproduce"]
    anchors = {source[1:] for source in shown.sources if source.startswith("#")}
    assert anchors == set(shown.ids)
    assert "scored as on Kaggle" not in shown.text and "macro-F1 of baseline" in shown.text


def test_labels_alone_and_external_scores_make_a_page_of_escaped_names(tmp_path):
    raw = write_kaggle(tmp_path / "raw <b> & more", train=40)
    shutil.rmtree(raw / "train")
    options = ["--data", raw, "--work", tmp_path, "--preset", "strong", "--set", "ensemble.members=none"]
    call("00_prepare", *options, "--labels-only")
    ids = pd.read_csv(raw / "train.csv")["Id"].tolist() + [f"t{row:02d}" for row in range(5)]
    table = pd.DataFrame(np.random.default_rng(0).random((45, 28)), columns=list(CLASSES)).assign(Id=ids)
    table.to_csv(tmp_path / "scores.csv", index=False)
    call("04_threshold", *options, "--add", "joint", tmp_path / "scores.csv")
    call("05_submit", *options)
    run = start("--work", tmp_path, "--run", "strong")
    text = run.report.read_text()
    shown = Page(text)
    assert shown.ids == ["score", "predictors", "thresholds", "confusions", "data", "time", "reproduce"]
    assert "Simulated" not in shown.text and "scored as on Kaggle" not in shown.text
    assert "images of raw <b> & more/" in shown.text and "raw <b>" not in text
    assert "joint: external predictions, from scores.csv" in shown.text.replace(f"{tmp_path}/", "")
    command = ["bash", "run_all.sh", "--preset", "strong", "--run", "strong", "--data", str(raw)]
    assert shlex.join([*command, "--set", "ensemble.members=none"]) in shown.text
    assert not (run.folder / "examples").exists(), "there are no images"


def test_without_a_holdout_the_page_tells_how_validation_was_predicted(folded, tmp_path):
    folded = dataclasses.replace(folded, folder=shutil.copytree(folded.folder, tmp_path / "folded"))
    decision_NC = submission.check(folded.submission, report_of(folded).data.ids("test"))
    page.write(report_of(folded), page.Submission("baseline", decision_NC, {}))
    shown = Page(folded.report.read_text())
    table = predictors_of(folded, "validation")
    assert (
        f"{table.loc[('baseline', 'submitted'), 'macro_f1']:.3f} macro-F1 of baseline on 60 samples"
        in shown.text
    )
    assert "predicted by the fold that was not trained on it" in shown.text
    assert "optimistic" not in shown.text and "mean over folds" in shown.text
    assert "network baseline: test_resnet, 16 px, mean over 3 folds" in shown.text
    values = thresholds.load(folded.thresholds("baseline"), "validation", 3).mean(axis=0)
    rows = {row[0]: row for row in shown.tables["thresholds"][0]}
    for label in report_of(folded).data.classes:
        assert rows[CLASSES[label]][1] == f"{values[label]:.3f}"


def test_a_score_on_validation_samples_used_for_tuning_is_called_optimistic(copied):
    report = report_of(copied)
    subsets = {name: report.data.subsets[name] for name in ("train", "validation")}
    without = dataclasses.replace(report, data=dataclasses.replace(report.data, subsets=subsets))
    page.write(without, submitted(copied))
    shown = Page(copied.report.read_text())
    row = predictors_of(copied, "validation").loc[(submitted_predictor(copied), "submitted")]
    assert f"on {row['samples']:.0f} samples of validation" in shown.text and "optimistic" in shown.text


def test_tables_of_a_papers_preset_are_shown(copied):
    rows = [
        {"predictor": "baseline", "macro_precision": 0.12345, "macro_recall": 0.2, "macro_f1": 0.3},
        {
            "predictor": "Hoogenboom 2019, baseline",
            "macro_precision": 0.6,
            "macro_recall": 0.4,
            "macro_f1": 0.5,
        },
    ]
    files.write_csv(copied.evaluation("averages"), pd.DataFrame(rows))
    shown = rewritten(copied)
    assert shown.tables["predictors"][1] == [
        ["predictor", "precision", "recall", "F1"],
        ["baseline", "0.1235", "0.2000", "0.3000"],
        ["Hoogenboom 2019, baseline", "0.6000", "0.4000", "0.5000"],
    ]


def test_a_merged_run_lists_the_commands_of_its_members(tmp_path, finished):
    for name in ("one", "two"):
        own = {"preset": "smoke", "set": ["training.seed=1"] if name == "two" else [], "data": None}
        files.write_json(tmp_path / name / "run.json", own)
    own = {"preset": "smoke", "set": [], "data": "/with space", "merge": ["one", "two"]}
    files.write_json(tmp_path / "both" / "run.json", own)
    commands = page._commands(dataclasses.replace(finished, folder=tmp_path / "both"))
    assert commands == [
        "bash run_all.sh --to 03 --preset smoke --run one",
        "bash run_all.sh --to 03 --preset smoke --run two --set training.seed=1",
        "python 04_threshold.py --preset smoke --run both --data '/with space' --merge one two",
        "python 05_submit.py --run both",
    ]


@pytest.mark.parametrize(
    ("predictor", "words"),
    [
        (Predictor("network", "gone", views=8), "network gone, mean over 8 flips and rotations"),
        (
            Predictor("network", "gone", views=8, crops=4, combine="max"),
            "network gone, maximum over 4 crops in 8 flips and rotations",
        ),
        (Predictor("ensemble", members={"a": 0.5, "b": 0.5}, method="rank_mean"), "mean rank of a (0.50), b"),
        (Predictor("ensemble", members={"a": 0.5, "b": 0.5}, method="mean"), "mean of a (0.50), b (0.50)"),
        (Predictor("external", files=["x.csv", "y.npy"]), "external predictions, from x.csv, y.npy"),
        (Predictor("merged", runs=["one", "two"]), "mean over the runs one, two"),
        (Predictor("hierarchy", routing="hard", stage_1="stage_1"), "hard routing by stage_1 to no network"),
    ],
)
def test_predictors_are_described_by_what_they_are_made_of(tmp_path, finished, predictor, words):
    run = dataclasses.replace(finished, folder=tmp_path)
    predictor.write(run.predictor("hierarchy_x_tta"))
    assert page.describe(run, "hierarchy_x_tta").startswith(words)


def test_without_a_report_neither_page_nor_examples_are_made(copied):
    copied.report.unlink()
    shutil.rmtree(copied.folder / "examples")
    call("05_submit", *restart(copied), "--force", "--no-report")
    assert not copied.report.exists() and not (copied.folder / "examples").exists()


# its size


def test_a_page_of_all_classes_and_many_predictors_stays_small(tmp_path, monkeypatch, finished):
    heatmap_HW = np.add.outer(*[np.sin(np.linspace(0, 9, 256)) ** 2] * 2) / 2
    tiles = [len(tile(image_HWK, heatmap_HW)) for _, image_HWK in dataset.class_gallery(256, seed=1)]
    monkeypatch.setattr(Figure, "savefig", DRAWN)
    monkeypatch.setitem(data_and_training.STYLE, "figure.dpi", 120)
    random = np.random.default_rng(0)
    table = class_scores(
        random.uniform(size=(99, 28)) < 0.2, random.uniform(size=(99, 28)) < 0.2
    ).reset_index()
    both = pd.concat(
        table.assign(decision=decision, f1=random.uniform(size=28)) for decision in ("fixed", "tuned")
    )
    scores.class_f1(tmp_path / "f1.png", both, "some predictor: holdout, simulated cells")
    figure = len(html.data_uri(tmp_path / "f1.png"))
    assert figure > 20_000, "it is drawn as large as in a run"
    # 28 classes, the kinds, two of each; as many figures as the preset with most predictors draws
    examples = len(CLASSES) * len(KINDS) * example_images.PER_KIND
    assert examples * np.mean(tiles) * 4 / 3 + 80 * figure < 12e6
    assert finished.report.stat().st_size < 2e6


@pytest.mark.parametrize(
    "file", ["../../../../etc/passwd", "/etc/passwd", "0000.webp/../../x.webp", "x.webp", "", "9999.webp"]
)
def test_only_pictures_of_the_folder_are_shown(copied, file):
    path = copied.folder / "examples" / "examples.json"
    content = files.read_json(path)
    content["images"][0]["file"] = file
    files.write_json(path, content)
    with pytest.raises(UserError) as error:
        rewritten(copied)
    assert str(path.parent) in str(error.value) and "`python 05_submit.py`" in str(error.value)


def test_a_deleted_picture_is_drawn_again_by_the_stage(copied):
    picture = copied.folder / "examples" / "0000.webp"
    before = picture.read_bytes()
    picture.unlink()
    with pytest.raises(UserError, match=r"0000.webp is missing: run `python 05_submit.py`"):
        rewritten(copied)
    example_images.draw_examples(report_of(copied), submitted_predictor(copied))
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"label": 28}, {"label": -1}, {"label": 27}, {"kind": "bad"}, {"kind": ""}, {"probability": 2.0},
        {"row": None}, {"true": "x"},
    ],
)  # fmt: skip
def test_edited_examples_are_one_line(copied, changes):
    path = copied.folder / "examples" / "examples.json"
    content = files.read_json(path)
    content["images"][0] |= changes
    files.write_json(path, content)
    with pytest.raises(UserError, match=r"examples.json is damaged .*`python 05_submit.py`"):
        rewritten(copied)
