"""Example images are what they are called, and show the attributions of a network of the run."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib import files
from lib.data.cache import ShardedArray
from lib.evaluation.predictions import Predictor
from lib.labels import CLASSES
from lib.learning import attribution, models
from lib.learning.network_spec import NetworkSpec
from lib.report import example_images, example_selection
from lib.report.example_images import ExampleImage, ExampleList, attributed_network
from tests.report.conftest import SIZE, report_of, submitted_predictor, write_network

NOTHING = ExampleList("baseline", "", None)  # of which images are drawn


def listed(folder):
    return files.read_json(folder / "examples.json")


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def test_examples_are_what_they_are_called(finished):
    folder, report = finished.folder / "examples", report_of(finished)
    content, predictor = listed(folder), submitted_predictor(finished)
    assert content["subset"] == "holdout" and content["network"] == "baseline"
    one, data = report.predictor(predictor), report.data
    calibrated_NC, decision_NC = one.calibrated_NC("holdout"), one.decisions("holdout")
    position = {sample: row for row, sample in enumerate(data.ids("holdout"))}
    for image in content["images"]:
        name, row = CLASSES[image["label"]], position[image["id"]]
        assert data.index.train_ids[image["row"]] == image["id"]
        assert image["true"] == [CLASSES[c] for c in np.flatnonzero(data.truth_NC("holdout")[row])]
        assert image["predicted"] == [CLASSES[c] for c in np.flatnonzero(decision_NC[row])]
        true, predicted = name in image["true"], name in image["predicted"]
        assert {
            "correct": true and predicted,
            "wrong": predicted and not true,
            "missed": true and not predicted,
            "uncertain": True,
        }[image["kind"]]
        assert image["probability"] == pytest.approx(calibrated_NC[row, image["label"]])
        assert (folder / image["file"]).stat().st_size > 500
    kinds = [(image["label"], image["kind"]) for image in content["images"]]
    assert {kind for _, kind in kinds} == set(example_selection.KINDS)
    assert max(map(kinds.count, kinds)) == example_images.PER_KIND
    assert {label for label, _ in kinds} <= set(data.classes)
    assert len(list(folder.glob("*.webp"))) == len(content["images"])


def test_examples_are_drawn_once(copied, monkeypatch):
    report, predictor = report_of(copied), submitted_predictor(copied)
    before = (copied.folder / "examples" / "examples.json").stat().st_mtime_ns

    def fail(*_arguments):
        raise AssertionError("drawn again")

    monkeypatch.setattr(example_images, "draw", fail)
    example_images.draw_examples(report, predictor)
    assert (copied.folder / "examples" / "examples.json").stat().st_mtime_ns == before
    other = "features_alone" if predictor != "features_alone" else "baseline"
    with pytest.raises(AssertionError, match="drawn again"):  # other examples are not kept
        example_images.draw_examples(report, other)


def test_examples_of_a_run_whose_networks_are_gone_have_no_attributions(copied):
    shutil.rmtree(copied.network("baseline"))
    example_images.draw_examples(report_of(copied), "baseline")
    folder = copied.folder / "examples"
    assert listed(folder)["network"] is None and listed(folder)["predictor"] == "baseline"
    assert len({size_of(path) for path in folder.glob("*.webp")}) == 1


def test_without_cached_images_there_are_no_examples(copied):
    shutil.rmtree(copied.folder / "examples")
    without = dataclasses.replace(copied, cache=copied.folder / "no cache")
    example_images.draw_examples(dataclasses.replace(report_of(copied), run=without), "baseline")
    assert not (copied.folder / "examples").exists()


# the network whose attributions are shown


def test_a_network_shows_its_own_attributions_and_others_those_of_the_best_network(copied):
    for name in ("baseline", "features_alone", "hierarchy_hard", "ensemble"):
        assert attributed_network(copied, name) == "baseline"
    write_network(copied.network("second"))
    Predictor("network", "second", views=8).write(copied.predictor("joint"))
    shutil.copy(copied.predictor("baseline") / "validation.npz", copied.predictor("joint"))
    assert attributed_network(copied, "joint") == "second"
    assert attributed_network(copied, "ensemble") == "baseline", "the other is not evaluated yet"
    shutil.copy(copied.thresholds("baseline"), copied.thresholds("joint"))
    for score, best in ((0.01, "baseline"), (0.99, "second")):
        summary = pd.read_csv(copied.evaluation("baseline_summary")).assign(macro_f1=score)
        files.write_csv(copied.evaluation("joint_summary"), summary)
        assert attributed_network(copied, "features_alone") == best
    # what an external predictor is called does not matter
    Predictor("external", files=["x.csv"]).write(copied.predictor("baseline"))
    assert attributed_network(copied, "baseline") == "second"


# drawing


@pytest.fixture
def array(finished):
    return ShardedArray(finished.array("train", SIZE))


def examples_of(rows, labels):
    return [
        ExampleImage(f"s{row}", row, label, "", 0.5, [], [CLASSES[label]])
        for row, label in zip(rows, labels, strict=True)
    ]


def never():
    raise AssertionError("the network takes no features")


def test_images_are_drawn_with_the_attributions_of_their_class(tmp_path, finished, array, monkeypatch):
    seen = []

    def heatmaps(model, images_BHWK, features_BF, outputs_B):
        seen.append((images_BHWK, features_BF, outputs_B))
        return np.zeros(images_BHWK.shape[:3], np.float32)

    monkeypatch.setattr(attribution, "heatmaps", heatmaps)
    monkeypatch.setattr(example_images, "BATCH", 2)
    (checkpoint,) = finished.checkpoints("baseline")
    rows, labels = [5, 1, 9], [3, 0, 27]
    files.write_bytes(tmp_path / "0007.webp", b"of an earlier drawing")
    example_images.draw(tmp_path, examples_of(rows, labels), array, checkpoint, never, NOTHING)
    content = listed(tmp_path)
    assert content["predictor"] == "baseline" and [image["row"] for image in content["images"]] == rows
    names = [image["file"] for image in content["images"]]
    assert names == ["0000.webp", "0001.webp", "0002.webp"]
    assert sorted(path.name for path in tmp_path.glob("*.webp")) == names
    assert [outputs for *_, outputs in seen] == [[3, 0], [27]]
    images = np.concatenate([images_BHWK for images_BHWK, *_ in seen])
    assert np.array_equal(images, np.stack([array[row] for row in rows]))
    assert all(features_BF.shape == (len(outputs), 0) for _, features_BF, outputs in seen)


def test_the_features_of_the_shown_samples_are_passed_to_the_network(tmp_path, array, monkeypatch):
    checkpoint = tmp_path / "network"
    write_network(checkpoint)
    spec = files.read_json(checkpoint / "model.json") | {"features": ["b", "a"], "classes": [3, 5]}
    features = pd.DataFrame(np.arange(3.0 * len(array)).reshape(-1, 3), columns=["a", "b", "c"])
    seen = []

    class Network:
        def __init__(self):
            self.spec = NetworkSpec(**spec)

        def to(self, _device):
            return self

    def heatmaps(_model, images_BHWK, features_BF, outputs_B):
        seen.append((features_BF, outputs_B))
        return np.zeros(images_BHWK.shape[:3], np.float32)

    monkeypatch.setattr(models, "load", lambda _folder: Network())
    monkeypatch.setattr(attribution, "heatmaps", heatmaps)
    example_images.draw(tmp_path, examples_of([4, 2], [5, 3]), array, checkpoint, lambda: features, NOTHING)
    ((features_BF, outputs_B),) = seen
    assert features_BF.dtype == np.float32 and features_BF.tolist() == [[13, 12], [7, 6]]
    assert outputs_B == [1, 0], "positions among the network's outputs, not class numbers"


def test_without_a_network_there_are_two_panels_instead_of_three(tmp_path, finished, array):
    shown = examples_of([0], [0])
    (checkpoint,) = finished.checkpoints("baseline")
    example_images.draw(tmp_path / "with", shown, array, checkpoint, never, NOTHING)
    example_images.draw(tmp_path / "without", shown, array, None, never, NOTHING)
    with_W, without_W = (size_of(tmp_path / name / "0000.webp")[0] for name in ("with", "without"))
    assert with_W > 1.4 * without_W


def test_the_names_of_classes_are_in_their_order():
    chosen_C = np.isin(np.arange(28), [25, 0])
    assert example_images.class_names(chosen_C) == ["Nucleoplasm", "Cytosol"]
