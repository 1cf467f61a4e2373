"""A finished run looks at images that no stage has seen."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.data import kaggle, sample_index
from lib.errors import UserError
from lib.evaluation import predictions, thresholds
from lib.labels import CHANNELS, CLASSES
from tests.conftest import call, run_script
from tests.report.test_page import Page


@pytest.fixture(scope="module")
def work(smoke, tmp_path_factory):
    """The smoke run without the arrays that it learnt from, and five of its test samples as new images."""
    folder = tmp_path_factory.mktemp("new") / "work"
    shutil.copytree(smoke / "outputs", folder / "outputs")
    cache = smoke / "data" / "cache" / "smoke"
    for path in (cache / "index.csv", *cache.glob("features_*/features.csv")):
        copy = folder / path.relative_to(smoke)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copytree(
        smoke / "data" / "smoke", folder / "data" / "smoke", ignore=shutil.ignore_patterns("*.png")
    )
    ids = sorted(sample_index.read_index(folder / "data" / "cache" / "smoke" / "index.csv").test_ids)[:5]
    (folder / "cells").mkdir()
    for sample in ids:
        for channel in CHANNELS:
            shutil.copy(smoke / "data" / "smoke" / "test" / f"{sample}_{channel}.png", folder / "cells")
    return folder


def look(work: Path, *options: object, images: str = "cells") -> Path:
    call("05_submit", "--preset", "smoke", "--work", work, "--images", work / images, *options)
    return work / "outputs" / "smoke" / "images" / images


PREDICTORS = ("ensemble", "baseline", "features_alone", "joint", "hierarchy_hard", "hierarchy_soft")


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_what_is_said_of_a_test_sample_is_said_of_it_as_a_new_image(work, predictor):
    made = look(work, "--predictor", predictor)
    run = work / "outputs" / "smoke"
    table = predictions.load(run / "predictions" / predictor / "test.npz")
    ids = kaggle.list_samples(work / "cells")
    thresholds_C = thresholds.load(run / "thresholds" / f"{predictor}.json", "test")
    decision_NC = thresholds.submitted(table.rows_of(ids, "test"), thresholds_C)
    found = pd.read_csv(made / "locations.csv")
    wanted = {(ids[row], CLASSES[label]) for row, label in np.argwhere(decision_NC)}
    assert set(zip(found["id"], found["location"], strict=True)) == wanted and len(found) == len(wanted)
    probabilities = pd.read_csv(made / "probabilities.csv", index_col="id")
    assert probabilities.index.tolist() == ids and probabilities.columns.tolist() == list(CLASSES)
    for row in found.itertuples():
        assert row.probability == probabilities.loc[row.id, row.location]
        words = {"high": (0.8, 1), "medium": (0.5, 0.8), "low": (0, 0.5)}
        assert words[row.confidence][0] <= row.probability <= words[row.confidence][1]
    classes = pd.read_csv(run / "evaluation" / f"{predictor}_classes.csv")
    chosen = classes[(classes["subset"] == "holdout") & (classes["decision"] == "submitted")]
    precision = chosen.set_index("class")["precision"]
    assert found["precision_on_holdout"].tolist() == precision[found["location"]].tolist()


def test_the_page_shows_every_image_with_its_locations(work):
    made = look(work, "--predictor", "baseline")
    page = Page((made / "report.html").read_text())
    found = pd.read_csv(made / "locations.csv")
    assert sum(source.startswith("data:image") for source in page.sources) == found["id"].nunique() == 5
    for sample, rows in found.groupby("id"):
        shown = " ".join(f"{row.location} {row.probability:.0%}" for row in rows.itertuples())
        assert f"{shown} {sample}" in page.text
    assert "5 images." in page.text and "looked at by baseline of run smoke" in page.text


def test_networks_are_asked_once_and_again_for_other_images(work, capsys):
    look(work, "--predictor", "baseline")
    table = (
        work / "outputs" / "smoke" / "images" / "cells" / "predictions" / "smoke" / "baseline" / "test.npz"
    )
    before = table.stat().st_mtime_ns
    made = look(work, "--predictor", "baseline")
    assert table.stat().st_mtime_ns == before
    first = kaggle.list_samples(work / "cells")[0]
    try:
        for channel in CHANNELS:
            shutil.copy(work / "cells" / f"{first}_{channel}.png", work / "cells" / f"another_{channel}.png")
        assert "another" in set(pd.read_csv(look(work, "--predictor", "baseline") / "locations.csv")["id"])
    finally:
        for channel in CHANNELS:
            (work / "cells" / f"another_{channel}.png").unlink()
    probabilities = pd.read_csv(made / "probabilities.csv", index_col="id")
    assert probabilities.loc["another"].tolist() == probabilities.loc[first].tolist()
    assert (
        len(look(work, "--predictor", "baseline").joinpath("probabilities.csv").read_text().splitlines()) == 6
    )


def test_tiff_and_coloured_files_are_read_as_the_png_that_they_show(work):
    folder = work / "others"
    folder.mkdir()
    sample = kaggle.list_samples(work / "cells")[0]
    image_HWK = kaggle.read_image(work, "cells", sample)
    for place, channel in enumerate(CHANNELS):
        colored = np.zeros((*image_HWK.shape[:2], 3), np.uint8)
        for part in {"red": [2], "green": [1], "blue": [0], "yellow": [1, 2]}[channel]:
            colored[..., part] = image_HWK[..., place]
        plane = image_HWK[..., place] if channel == "green" else colored
        cv2.imwrite(str(folder / f"{sample}_{channel}.tif"), plane)
    assert (kaggle.read_image(work, "others", sample) == image_HWK).all()
    made = [
        look(work, "--predictor", "baseline", images=name) / "probabilities.csv"
        for name in ("cells", "others")
    ]
    assert made[1].read_text().splitlines()[1] in made[0].read_text().splitlines()


def refused(work, *options, images="cells"):
    done = run_script("05_submit", "--preset", "smoke", "--work", work, "--images", work / images, *options)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_what_cannot_be_looked_at_is_said_in_a_line(work):
    assert "no such folder; expected one with {id}_green.png" in refused(work, images="nowhere")
    (work / "empty").mkdir()
    assert "holds no image {id}_green.png: expected four a sample" in refused(work, images="empty")
    (work / "deep").mkdir()
    for channel in CHANNELS:
        cv2.imwrite(str(work / "deep" / f"a_{channel}.tif"), np.zeros((8, 8), np.uint16))
    assert "first deep/a_red.tif has 16 bits a pixel, expected 8" in refused(work, images="deep")
    assert "thresholds/none.json is missing" in refused(work, "--predictor", "none")


def test_bad_images_may_be_allowed(work):
    shutil.copytree(work / "cells", work / "some")
    first, *others = kaggle.list_samples(work / "some")
    (work / "some" / f"{first}_blue.png").write_bytes(b"")
    assert f"1 sample has bad images, first some/{first}_blue.png is empty" in refused(work, images="some")
    made = look(work, "--predictor", "baseline", "--set", "data.max_bad_images=1", images="some")
    assert pd.read_csv(made / "probabilities.csv")["id"].tolist() == others


def test_a_predictor_made_elsewhere_or_of_ranks_cannot_look(work):
    run = work / "outputs" / "smoke"
    for kind in ("thresholds/{}.json", "evaluation/{}_classes.csv", "evaluation/{}_summary.csv"):
        shutil.copy(run / kind.format("baseline"), run / kind.format("theirs"))
    shutil.copytree(run / "predictions" / "baseline", run / "predictions" / "theirs")
    with pytest.raises(UserError, match="theirs was made elsewhere and cannot look at new images"):
        look(work, "--predictor", "theirs")
    with pytest.raises(UserError, match=r"ensemble\.method=rank_mean ranks the samples of a set"):
        look(work, "--predictor", "ensemble", "--set", "ensemble.method=rank_mean")
