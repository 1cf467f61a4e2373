"""Channels that do not look like stains of cells are found; those of real samples are not."""

import cv2
import numpy as np
import pytest

from lib.data import kaggle
from lib.data.shards import resize
from lib.features import image_plausibility
from lib.features.image_plausibility import check_image, compactness
from lib.labels import CHANNELS
from tests.conftest import REAL, needs_real

STATISTICS = {"mean": [20.0, 15.0, 15.0, 20.0], "std": [30.0] * 4}
CELLS = [(50, 60), (150, 70), (80, 170), (190, 190)]  # (x, y)


def cell_image(size: int = 256) -> np.ndarray:
    """Draw filaments in red, spots in green, nuclei in blue and a mesh in yellow."""
    red, green, blue, yellow = (np.zeros((256, 256), np.uint8) for _ in CHANNELS)
    generator = np.random.default_rng(0)
    for x, y in CELLS:
        cv2.ellipse(blue, (x, y), (22, 17), 30, 0, 360, 180, -1)
        for angle in generator.uniform(0, 2 * np.pi, 25):
            far = (int(x + 45 * np.cos(angle)), int(y + 45 * np.sin(angle)))
            cv2.line(red, (x, y), far, 150, 2)
            cv2.circle(green, ((x + far[0]) // 2, (y + far[1]) // 2), 2, 200, -1)
            cv2.ellipse(yellow, (x, y), (30, 40), np.degrees(angle), 0, 70, 120, 2)
    image_HWK = cv2.GaussianBlur(np.stack([red, green, blue, yellow], axis=-1), (3, 3), 0)
    return resize(image_HWK, size)


def problems(image_HWK: np.ndarray) -> list[tuple[str, str]]:
    return [(finding.channel, finding.problem) for finding in check_image(image_HWK, STATISTICS)]


@pytest.mark.parametrize("size", [128, 256, 512])
def test_an_ordinary_image_has_no_findings(size):
    assert problems(cell_image(size)) == []


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_of_one_grey_level_is_empty(level):
    (finding,) = check_image(np.full((64, 64, 4), level, np.uint8), STATISTICS)
    assert finding.channel == "all" and f"grey level {level} everywhere" in finding.observed


@pytest.mark.parametrize("channel", range(4))
def test_an_implausible_channel_is_named(channel):
    name, image_HWK = CHANNELS[channel], cell_image()

    def changed(plane_HW):
        copy_HWK = image_HWK.copy()
        copy_HWK[..., channel] = plane_HW
        return check_image(copy_HWK, STATISTICS)

    (finding,) = changed(0)
    assert (finding.channel, finding.problem) == (name, "empty")
    half_HW = image_HWK[..., channel].copy()
    half_HW[:100] = 255
    (finding,) = changed(half_HW)
    assert (finding.channel, finding.problem) == (name, "saturated")
    assert "39% of the pixels at 255" in finding.observed and "%" in finding.expected
    (finding,) = changed(255 - image_HWK[..., channel] // 2)  # inverted
    assert (finding.channel, finding.problem) in ((name, "bright"), (name, "saturated"))
    usual = STATISTICS["mean"][channel]
    (finding,) = changed(image_HWK[..., channel] // 2 + 120)  # a bright background
    assert (finding.channel, finding.problem) == (name, "bright")
    assert f"about {usual:.0f}" in finding.expected and "mean grey level" in finding.observed


def test_a_channel_that_repeats_another_one_is_named():
    image_HWK = cell_image()
    image_HWK[..., 3] = image_HWK[..., 0]
    assert problems(image_HWK) == [("yellow", "repeated")]


@pytest.mark.parametrize("other", [0, 1, 3])
def test_nuclei_in_another_channel_are_reported(other):
    image_HWK = cell_image()
    image_HWK[..., [2, other]] = image_HWK[..., [other, 2]]
    (finding,) = check_image(image_HWK, STATISTICS)
    assert finding.channel == "blue" and f"{CHANNELS[other]} shows" in finding.problem
    assert f"in {CHANNELS[other]}" in finding.observed and "at least 0.7" in finding.expected


def test_a_blue_channel_without_nuclei_is_reported():
    image_HWK = cell_image()
    image_HWK[..., 2] = np.roll(image_HWK[..., 0], 5, axis=0)
    assert problems(image_HWK) == [("blue", "no nuclei")]


def test_compactness_is_that_of_discs_and_lines():
    disc, line, empty = (np.zeros((256, 256), np.uint8) for _ in range(3))
    cv2.circle(disc, (128, 128), 30, 200, -1)
    cv2.line(line, (20, 20), (230, 200), 200, 4)
    assert compactness(disc) > 0.95 and compactness(line) < 0.4 and compactness(empty) == 0


class Array:
    """Images in place of a cached array."""

    def __init__(self, images):
        self.images = images

    def __getitem__(self, row):
        return self.images[row]

    def shards(self):
        return [(range(0, 2), ""), (range(2, len(self.images)), "")]


def test_an_array_is_listed_in_the_order_of_its_ids(capsys):
    black, usual = np.zeros((128, 128, 4), np.uint8), cell_image(128)
    swapped = np.ascontiguousarray(usual[..., [2, 1, 0, 3]])
    array = Array([black, usual, swapped, black])
    found = image_plausibility.check_array(array, ["a", "b", "c", "d"], STATISTICS, workers=1)
    assert found[["id", "channel"]].to_numpy().tolist() == [["a", "all"], ["c", "blue"], ["d", "all"]]
    image_plausibility.warn_of_findings(found, 4, "list.csv")
    empty, nuclei = capsys.readouterr().err.splitlines()
    assert "all: empty in 2 of 4 images; the first is a: grey level 0" in empty and "list.csv" in empty
    assert "blue: no nuclei, but red shows some in 1 of 4 images; the first is c" in nuclei


@needs_real
def test_real_samples_have_no_findings_and_swapped_ones_do():
    folder = REAL / "kaggle_mini"
    ids = [
        (subset, sample) for subset in ("train", "test") for sample in kaggle.list_samples(folder / subset)
    ]
    images = [resize(kaggle.read_image(folder, *one), 128) for one in ids[::2]]
    pixels_K = np.concatenate([image_HWK.reshape(-1, 4) for image_HWK in images]).astype(np.float32)
    statistics = {"mean": pixels_K.mean(axis=0).tolist(), "std": pixels_K.std(axis=0).tolist()}
    assert not any(check_image(image_HWK, statistics) for image_HWK in images)
    for order, expected in (([2, 1, 0, 3], 0.75), ([0, 1, 3, 2], 0.75), ([0, 2, 1, 3], 0.45)):
        swapped = (np.ascontiguousarray(image_HWK[..., order]) for image_HWK in images)
        assert np.mean([bool(check_image(image_HWK, statistics)) for image_HWK in swapped]) > expected
