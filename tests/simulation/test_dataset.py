"""Simulated data sets: the same bytes however they are written, in Kaggle's layout."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.data import kaggle
from lib.errors import UserError
from lib.labels import CHANNELS, CLASSES, parse_target
from lib.sections import Simulation
from lib.simulation import camera
from lib.simulation import dataset as dataset_module
from lib.simulation.antibodies import PlannedSample, plan_samples
from lib.simulation.camera import CAMERAS
from lib.simulation.dataset import class_gallery, draw_sample, ensure_dataset, write_dataset
from lib.simulation.staining import describe_antibody

SETTINGS = dict(train_samples=20, test_samples=8, size=64, seed=3)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    write_dataset(folder, workers=1, **SETTINGS)
    return folder


def test_kaggle_layout(dataset):
    train, submission = rows(dataset / "train.csv"), rows(dataset / "sample_submission.csv")
    solution = {row["Id"]: row for row in rows(dataset / "solution.csv")}
    assert (len(train), len(submission), len(solution)) == (20, 8, 28)
    assert list(train[0]) == ["Id", "Target"] and list(submission[0]) == ["Id", "Predicted"]
    assert list(next(iter(solution.values()))) == ["Id", "Target", "Usage", "Antibody"]
    assert {row["Predicted"] for row in submission} == {"0"}
    assert [row["Id"] for row in train] == sorted(row["Id"] for row in train)
    for row in train:
        assert parse_target(row["Target"]) and solution[row["Id"]]["Target"] == row["Target"]
        assert solution[row["Id"]]["Usage"] == "Train"
    assert {solution[row["Id"]]["Usage"] for row in submission} <= {"Public", "Private"}
    sides = rows(dataset / "original_sides.csv")
    assert list(sides[0]) == ["id", "set", "side"] and {row["side"] for row in sides} == {"2048", "3072"}
    assert [(row["set"], row["id"]) for row in sides] == [
        (split, row["Id"]) for split, table in (("train", train), ("test", submission)) for row in table
    ]
    for split, table in (("train", train), ("test", submission)):
        expected = {f"{row['Id']}_{name}.png" for row in table for name in CHANNELS}
        assert {path.name for path in (dataset / split).iterdir()} == expected
    image = cv2.imread(str(dataset / "train" / f"{train[0]['Id']}_green.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (64, 64) and image.dtype == np.uint8


def test_files_hold_the_planned_samples(dataset):
    solution = {row["Id"]: row for row in rows(dataset / "solution.csv")}
    samples = plan_samples(SETTINGS["train_samples"], SETTINGS["test_samples"], SETTINGS["seed"])
    sides = {row["id"]: int(row["side"]) for row in rows(dataset / "original_sides.csv")}
    for sample in samples:
        assert parse_target(solution[sample.id]["Target"]) == sample.labels
        assert sides[sample.id] == CAMERAS[sample.camera].side
        assert int(solution[sample.id]["Antibody"]) == sample.antibody
    for sample in samples[:3]:
        image_HWK = kaggle.read_image(dataset, sample.split, sample.id)
        assert np.array_equal(image_HWK, draw_sample(sample, SETTINGS["size"], SETTINGS["seed"]))


def test_same_bytes_with_any_number_of_processes(dataset, tmp_path):
    write_dataset(tmp_path, workers=2, **SETTINGS)
    assert contents(tmp_path) == contents(dataset)


def test_same_bytes_after_a_kill(dataset, tmp_path):
    write_dataset(tmp_path, workers=1, **SETTINGS)
    images = sorted((tmp_path / "train").iterdir())
    for path in images[:7]:
        path.unlink()
    images[0].with_name(f".{images[0].name}.part").write_bytes(b"half a fi")
    (tmp_path / "train.csv").unlink()
    untouched = images[-1].stat().st_mtime_ns
    write_dataset(tmp_path, workers=1, **SETTINGS)
    assert contents(tmp_path) == contents(dataset)
    assert images[-1].stat().st_mtime_ns == untouched


def test_a_data_set_is_simulated_once_and_other_settings_are_rejected(tmp_path):
    folder, settings = tmp_path / "set", Simulation("set", 4, 2, 32, 1.0, 3)
    ensure_dataset(folder, settings, workers=1, force=False)
    before = contents(folder)
    ensure_dataset(folder, settings, workers=1, force=False)
    assert contents(folder) == before
    other = replace(settings, size=48)
    with pytest.raises(UserError) as error:
        ensure_dataset(folder, other, workers=1, force=False)
    for text in (str(folder), "simulation.size=32, not 48", "--set simulation.name=NAME", "--force"):
        assert text in str(error.value)
    assert contents(folder) == before
    ensure_dataset(folder, other, workers=1, force=True)
    images = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (folder / "train").iterdir()]
    assert len(images) == 4 * len(CHANNELS) and {image.shape for image in images} == {(48, 48)}


def test_files_that_were_not_simulated_are_left_alone(raw):
    before = contents(raw)
    with pytest.raises(UserError) as error:
        ensure_dataset(raw, Simulation("raw", 4, 2, 32), workers=1, force=True)
    for text in (str(raw), "not simulated", "--set simulation.name=NAME"):
        assert text in str(error.value)
    assert {name: data for name, data in contents(raw).items() if name != ".lock"} == before


@pytest.mark.parametrize(("size", "force"), [(32, False), (48, True)])
def test_an_interrupted_replacement_is_completed(tmp_path, monkeypatch, size, force):
    folder, settings = tmp_path / "set", Simulation("set", 3, 1, 32, 1.0, 3)
    expected = tmp_path / "expected"
    ensure_dataset(expected, replace(settings, size=size), workers=1, force=False)
    remove, unlink = dataset_module.shutil.rmtree, Path.unlink
    for last in (0, 1, 3):  # of train.csv, train/, test/, simulation.json
        ensure_dataset(folder, settings, workers=1, force=True)
        done = []

        def interrupt(path, last=last, done=done):
            done.append(path.name)
            if len(done) > last:
                raise KeyboardInterrupt

        def remove_half(path, interrupt=interrupt):
            for image in sorted(path.iterdir())[::2]:
                unlink(image)
            interrupt(path)
            remove(path)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(dataset_module.shutil, "rmtree", remove_half)
            patch.setattr(
                Path, "unlink", lambda path, interrupt=interrupt, **_: (interrupt(path), unlink(path))
            )
            ensure_dataset(folder, replace(settings, size=48), workers=1, force=True)
        assert len(done) == last + 1
        ensure_dataset(folder, replace(settings, size=size), workers=1, force=force)
        found, wanted = (
            {name: data for name, data in contents(path).items() if name != "simulation.json"}
            for path in (folder, expected)
        )
        assert found == wanted


def test_the_setting_decides_how_many_test_antibodies_train_lacks(tmp_path):
    shared = []
    for unseen in (0.0, 1.0):
        folder = tmp_path / str(unseen)
        ensure_dataset(folder, Simulation("set", 20, 6, 32, unseen=unseen), workers=1, force=False)
        antibodies = [
            {row["Antibody"] for row in rows(folder / "solution.csv") if (row["Usage"] == "Train") == train}
            for train in (True, False)
        ]
        shared.append(len(antibodies[0] & antibodies[1]) / len(antibodies[1]))
    assert shared == [1, 0]


@pytest.mark.filterwarnings("error")
def test_fields_without_a_whole_nucleus_are_drawn_too():
    """At high visibility few cells are in the field: some fields show no nucleus, some no edge of a cell."""
    for sample in plan_samples(150, 0, 5):
        assert draw_sample(sample, 32, 5, 6.0).shape == (32, 32, 4)


def test_fields_of_one_scene_are_near_duplicates():
    samples = plan_samples(300, 100, 2)
    again = next(s for k, s in enumerate(samples) if k and s[3:] == samples[k - 1][3:])
    first = samples[again.number - 1]
    other = next(s for s in samples if s.antibody != again.antibody)
    blue = [cv2.blur(draw_sample(s, 128, 2)[..., 2], (9, 9)).ravel() for s in (first, again, other)]
    correlation = np.corrcoef(blue)
    assert correlation[0, 1] > 0.3 > abs(correlation[0, 2])
    assert not np.array_equal(blue[0], blue[1])


def of_camera(name: str, count: int) -> list[PlannedSample]:
    """Return one sample of each of some antibodies that a camera recorded."""
    first = {s.antibody: s for s in plan_samples(20 * count, 0, 8) if s.camera == name}
    return list(first.values())[:count]


@pytest.mark.parametrize("name", CAMERAS)
def test_statistics_are_like_those_of_the_real_images(name):
    """Medians over the competition's images, see docs/simulation.md."""
    real = {
        "small": ([0.0586, 0.0312, 0.0476], [0.519, 0.427, 0.186]),
        "large": ([0.0243, 0.0220, 0.0113], [0.322, 0.290, 0.094]),
    }[name]
    images = [draw_sample(sample, 256, 8)[..., :3] for sample in of_camera(name, 60)]
    means = np.median([image.mean(axis=(0, 1)) for image in images], axis=0) / 255
    nonzero = np.median([(image > 0).mean(axis=(0, 1)) for image in images], axis=0)
    assert means == pytest.approx(real[0], rel=0.5)
    assert nonzero == pytest.approx(real[1], rel=0.5)


def test_the_large_camera_shows_more_of_a_field():
    small, large = (draw_sample(of_camera("small", 1)[0]._replace(camera=name), 256, 8) for name in CAMERAS)
    assert CAMERAS["large"].field_of_view * CAMERAS["small"].side == CAMERAS["large"].side
    sizes = []
    for image in (small, large):
        count, _, stats, _ = cv2.connectedComponentsWithStats(np.uint8(cv2.blur(image[..., 2], (5, 5)) > 25))
        sizes.append(np.median(stats[1:count, cv2.CC_STAT_AREA]))
    assert sizes[0] > 1.5 * sizes[1]


def brightness_profile(sample: PlannedSample) -> np.ndarray:
    """Return the logarithm of the bright quantiles of a sample's green channel."""
    green_HW = cv2.blur(draw_sample(sample, 64, 8, 2.0)[..., 1], (3, 3))
    return np.log(1 + np.quantile(green_HW, [0.8, 0.9, 0.95, 0.99]))


def test_fields_of_an_antibody_resemble_each_other():
    """Among antibodies against proteins of one location, by the distribution of green's brightness."""
    fields = [PlannedSample(k, str(k), "train", k // 2, (25,), k % 2, 0, "small") for k in range(120)]
    profiles = np.array([brightness_profile(sample) for sample in fields])
    distance = np.linalg.norm(profiles[:, None] - profiles[None], axis=2)
    closer = [np.mean(np.delete(distance[k], [k, k ^ 1]) < distance[k, k ^ 1]) for k in range(len(fields))]
    assert np.median(closer) < 0.3  # of the other antibodies; 0.5 if they had nothing of their own


def with_antibody(monkeypatch, sample: PlannedSample, **properties: object) -> np.ndarray:
    """Draw a sample whose antibody has other properties."""
    with monkeypatch.context() as patch:
        antibody = describe_antibody(sample.labels, 8, sample.antibody)._replace(**properties)
        patch.setattr(dataset_module, "describe_antibody", lambda *_: antibody)
        return draw_sample(sample, 128, 8, 2.0).astype(int)


PLAIN = dict(brightness=1.0, specks=0.0, texture=0.0, background=0.02, saturation=0.0, positive_fraction=1.0)


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": 0.0},
        {"specks": 60.0},
        {"texture": 0.5},
        {"background": 0.5},
        {"saturation": 1.5},
        {"spot_size": 1.6},
        {"positive_fraction": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_antibodys_properties_change_green_alone(change, monkeypatch):
    sample = PlannedSample(0, "0", "train", 3, (CLASSES.index("Lysosomes"),), 0, 0, "small")
    plain, changed = (with_antibody(monkeypatch, sample, **PLAIN | own) for own in ({}, change))
    assert np.array_equal(plain[..., [0, 2, 3]], changed[..., [0, 2, 3]])
    assert np.abs(plain - changed)[..., 1].max() > 10


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_greens_brightness_is_the_antibodys_or_that_of_the_conditions(share, monkeypatch):
    sample = PlannedSample(0, "0", "train", 3, (25,), 0, 0, "small")
    monkeypatch.setitem(CAMERAS, "small", CAMERAS["small"]._replace(protein=share))
    draw_acquisition = camera.draw_acquisition

    def draw(antibody: float, conditions: float) -> np.ndarray:
        def drawn(*arguments: object) -> camera.Acquisition:
            acquisition = draw_acquisition(*arguments)
            return acquisition._replace(brightness=acquisition.brightness | {"green": conditions})

        monkeypatch.setattr(camera, "draw_acquisition", drawn)
        return with_antibody(monkeypatch, sample, brightness=antibody)

    assert np.array_equal(draw(-1.0, 0.5), draw(1.0, 0.5)) == (share == 1)
    assert np.array_equal(draw(0.5, -1.0), draw(0.5, 1.0)) == (share == 0)


def test_fields_of_a_well_are_imaged_alike():
    fields = [PlannedSample(k, str(k), "train", k // 2, (0,), k % 2, 0, "large") for k in range(80)]
    blue = np.log([np.quantile(draw_sample(sample, 32, 8, 2.0)[..., 2], 0.98) + 1 for sample in fields])
    assert np.corrcoef(blue[::2], blue[1::2])[0, 1] > 0.4


def test_small_images_are_brighter_in_test():
    samples = of_camera("small", 10)
    means = [
        [draw_sample(s._replace(split=split), 32, 8, 2.0)[..., [0, 2, 3]].mean() for s in samples]
        for split in ("train", "test")
    ]
    assert np.mean(np.array(means[1]) > means[0]) > 0.8


def test_visibility_increases_the_contrast_of_patterns():
    samples = plan_samples(12, 0, 9)
    realistic, clear = (
        np.mean([draw_sample(s, 64, 9, visibility)[..., 1].std() for s in samples])
        for visibility in (1.0, 4.0)
    )
    assert clear > 1.2 * realistic


def test_the_gallery_has_one_example_of_every_class():
    gallery = class_gallery(128, 0)
    assert [name for name, _ in gallery] == list(CLASSES)
    assert all(image.shape == (128, 128, 4) and image[..., 1].max() > 10 for _, image in gallery)
    greens = {image[..., 1].tobytes() for _, image in gallery}
    assert len(greens) == len(CLASSES)
