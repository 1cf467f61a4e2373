"""The page of a run: whole, by itself, true to the tables, and silent about what was not run."""

import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from lib import files
from lib.figures.thumbnails import tile
from lib.labels import CLASSES
from lib.report import example_images
from lib.report import page as html_page
from lib.simulation import dataset
from tests.conftest import call, write_kaggle

VOID = {"meta", "link", "img", "br", "wbr"}


class Page(HTMLParser):
    """What a browser would see: ids, texts and where pictures come from; open and closed tags must match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.sources, self.anchors, self.texts = [], [], [], [], []
        self.feed(text)
        assert not self.open
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.sources += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            assert attributes["alt"], "every picture says what it shows"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "style" not in self.open:
            self.texts.append(text)


@pytest.fixture(scope="module")
def folder(smoke):
    return smoke / "outputs" / "smoke"


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text())


def test_it_is_one_file_that_asks_for_no_other(page):
    assert {source.split(",")[0] for source in page.sources if source.startswith("data:image")} == {
        "data:image/webp;base64"
    }
    anchors = {source[1:] for source in page.sources if source.startswith("#")}
    assert anchors == set(page.ids)
    assert {s for s in page.sources if not s.startswith(("data:", "#"))} == set()


def test_it_has_every_section_and_every_figure(folder, page):
    assert page.ids == [
        "score", "predictors", "pictures", "thresholds", "confusions", "data", "features", "training",
        "hierarchy", "time", "again",
    ]  # fmt: skip
    figures = len(list((folder / "figures").glob("*.png")))
    pictures = len(files.read_json(folder / "pictures" / "pictures.json")["pictures"])
    assert len([s for s in page.sources if s.startswith("data:image")]) == figures + pictures
    assert figures > 20 and pictures > 50


def test_the_score_comes_first_with_data_predictor_and_interval(folder, page):
    table = pd.read_csv(folder / "evaluation" / "predictors.csv").set_index(
        ["predictor", "subset", "decision"]
    )
    predictor = files.read_json(folder / "manifests" / "05_submit.json")["predictor"]
    row = table.loc[(predictor, "holdout", "submitted")]
    assert (
        f"{row['macro_f1']:.3f} macro-F1 of {predictor} on {row['samples']:.0f} samples of holdout, "
        f"simulated cells. 95 % certain: {row['low']:.3f} to {row['high']:.3f}."
    ) in page.text
    out = (folder.parent.parent / "05_submit.out").read_text()
    everything = float(re.search(r"all (0\.\d+)", out)[1])
    assert f"{everything:.3f} is what Kaggle would give" in page.text
    assert "Simulated cells. These scores say" in page.text


def test_tables_are_those_of_the_evaluation(folder, page):
    predictor = files.read_json(folder / "manifests" / "05_submit.json")["predictor"]
    classes = pd.read_csv(folder / "evaluation" / f"{predictor}_classes.csv")
    classes = classes[classes["subset"] == "holdout"].set_index(["decision", "class"])
    threshold = files.read_json(folder / "thresholds" / f"{predictor}.json")["holdout"]["Nucleoplasm"]
    before, after = (classes.loc[(name, "Nucleoplasm")] for name in ("fixed", "submitted"))
    change = f"{after['f1'] - before['f1']:+.3f}"
    row = f"Nucleoplasm {threshold:.3f} {before['f1']:.3f} {after['f1']:.3f} {change} {after['support']:.0f} "
    assert row + f"{before['predicted']:.0f} {after['predicted']:.0f}" in page.text
    seconds = files.read_json(folder / "manifests" / "02_train_cnn_baseline.json")["seconds"]
    assert f"02_train_cnn baseline {seconds:.1f} s" in page.text
    assert "bash run_all.sh --preset smoke --run smoke" in page.text
    assert "training.epochs 2 passes over the training samples" in page.text


def test_pictures_are_what_they_are_called(folder):
    content = files.read_json(folder / "pictures" / "pictures.json")
    assert content["network"] == "baseline"
    for one in content["pictures"]:
        name = CLASSES[one["label"]]
        has, given = name in one["has"], name in one["given"]
        assert {
            "right": has and given,
            "wrong": given and not has,
            "missed": has and not given,
            "unsure": True,
        }[one["kind"]]
        assert (folder / "pictures" / one["file"]).stat().st_size > 500


def test_labels_alone_and_scores_from_elsewhere_make_a_page_without_what_is_not_there(tmp_path, capsys):
    raw = write_kaggle(tmp_path / "raw", train=40)
    shutil.rmtree(raw / "train")
    options = ("--data", raw, "--work", tmp_path, "--preset", "strong", "--set", "ensemble.members=none")
    call("00_prepare", *options, "--labels-only")
    ids = pd.read_csv(raw / "train.csv")["Id"].tolist() + [f"t{row:02d}" for row in range(5)]
    scores = np.random.default_rng(0).random((45, 28))
    table = pd.DataFrame(scores, columns=list(CLASSES)).assign(Id=ids)
    table.to_csv(tmp_path / "scores.csv", index=False)
    call("04_threshold", *options, "--add", "theirs", tmp_path / "scores.csv")
    call("05_submit", *options)
    folder = tmp_path / "outputs" / "strong"
    page = Page((folder / "report.html").read_text())
    assert page.ids == ["score", "predictors", "thresholds", "confusions", "data", "time", "again"]
    assert "Simulated" not in page.text and "what Kaggle would give" not in page.text
    assert (
        f"bash run_all.sh --preset strong --run strong --data {raw} --set ensemble.members=none" in page.text
    )
    assert not (folder / "pictures").exists()


def test_without_a_report_neither_page_nor_pictures_are_made(smoke, tmp_path):
    shutil.copytree(smoke, tmp_path / "work")
    folder = tmp_path / "work" / "outputs" / "smoke"
    (folder / "report.html").unlink()
    shutil.rmtree(folder / "pictures")
    call("05_submit", "--preset", "smoke", "--work", tmp_path / "work", "--force", "--no-report")
    assert not (folder / "report.html").exists() and not (folder / "pictures").exists()


def test_a_run_that_joins_others_says_how_those_are_made(tmp_path):
    for name, options in (("one", ["split.fold=0"]), ("two", ["split.fold=1"])):
        begun = {"preset": "smoke", "set": ["split.folds=2", *options], "data": None}
        files.write_json(tmp_path / name / "run.json", begun)
    begun = {"preset": "smoke", "set": [], "data": "/with space"}
    files.write_json(tmp_path / "both" / "run.json", begun | {"join": ["one", "two"]})
    commands = [shlex.split(line) for line in html_page._commands(tmp_path / "both", begun)]
    fold = ["--preset", "smoke", "--run", "one", "--set", "split.folds=2", "split.fold=0"]
    assert commands[0] == ["bash", "run_all.sh", "--to", "03", *fold]
    both = ["--preset", "smoke", "--run", "both", "--data", "/with space", "--join", "one", "two"]
    assert commands[2:] == [["python", "04_threshold.py", *both], ["python", "05_submit.py", "--run", "both"]]


def test_a_name_cannot_become_part_of_the_page(tmp_path):
    nothing = {"network": None, "pictures": [], "images": 0, "counts": {}}
    score = dict.fromkeys(("samples", "submitted", "low", "high"), 0)
    names = {"run": "<b>", "predictor": "<script>", "source": tmp_path}
    html_page.render(tmp_path / "page.html", "images.html", judge=FakeJudge, score=score, **names, **nothing)
    text = (tmp_path / "page.html").read_text()
    assert "<script>" not in text and "&lt;script&gt;" in text


class FakeJudge:
    subset, data = "holdout", "cells"


def test_large_pictures_lose_a_little_and_figures_nothing(tmp_path):
    from PIL import Image

    drawing = np.full((300, 300, 3), 255, np.uint8)
    drawing[100:120, 20:280] = (47, 109, 179)
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    for name, picture in (("drawing", drawing), ("noise", noise)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    assert len(html_page._data_uri(tmp_path / "drawing.png")) < 2000
    assert len(html_page._data_uri(tmp_path / "noise.png")) < 0.6 * (tmp_path / "noise.png").stat().st_size


def test_a_page_of_kaggles_images_stays_small(folder):
    heat_HW = np.add.outer(*[np.sin(np.linspace(0, 9, 512)) ** 2] * 2) / 2
    fields = [image_HWK for _, image_HWK in dataset.class_gallery(512, seed=1)]
    pictures = np.mean([len(tile(image_HWK, heat_HW)) for image_HWK in fields])
    drawn = np.mean([len(html_page._data_uri(path)) for path in (folder / "figures").glob("*.png")])
    # 28 classes, four kinds, two of each; as many figures as the preset with most predictors leaves
    assert (28 * 4 * example_images.EACH * pictures * 4 / 3 + 80 * drawn) < 12e6
    assert (folder / "report.html").stat().st_size < 6e6
