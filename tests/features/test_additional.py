import cv2
import numpy as np
import pytest

from lib.features import additional
from lib.features.additional import ADDITIONAL, COLUMNS
from lib.features.biological import TEN, PreparedSample, measure
from lib.labels import FEATURES
from tests.features.shapes import NUCLEUS, channel, ellipse, image, noise, segmented


def test_all_columns_are_the_ten_and_ten_more_with_a_label_for_figures():
    assert list(COLUMNS["all"]) == [*TEN, *ADDITIONAL] and len(COLUMNS["all"]) == 20
    assert [name for name in COLUMNS["all"] if name in FEATURES] == list(FEATURES)


def test_granularity_finds_the_radius_of_the_structures():
    random = np.random.default_rng(0)
    for radius, column in ((3, "granularity_4"), (6, "granularity_8"), (12, "granularity_16")):
        masks = [ellipse(*random.uniform(30, 480, 2), radius + 0.3, radius + 0.3) for _ in range(12)]
        names = [name for name in ADDITIONAL if name.startswith("granularity")]
        functions = {name: ADDITIONAL[name] for name in names}
        values = dict(zip(names, measure(image(green=channel(*masks)), "fast", functions), strict=True))
        assert max(values, key=values.get) == column and values[column] > 0.7, (radius, values)


def test_granularity_by_hand():
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))  # an opening with radius 4 preserves it
    green = np.zeros((64, 64), np.uint8)
    green[10:13, 10:13], green[30:39, 30:39] = 100, 100 * disc
    total = 9 + disc.sum()
    assert additional.granularity(green, 4, 0) == pytest.approx(9 / total)
    assert additional.granularity(green, 5, 4) == pytest.approx(disc.sum() / total)
    assert np.isnan(additional.granularity(np.zeros_like(green), 2, 0))


def test_granularity_finer_than_a_pixel_is_undefined():
    small = PreparedSample(noise(0, size=64))
    assert np.isnan(ADDITIONAL["granularity_2"](small))
    assert ADDITIONAL["granularity_16"](small) >= 0
    for size, undefined in ((128, ["granularity_2"]), (160, ["granularity_4"]), (192, [])):
        sample = PreparedSample(noise(0, size=size))  # at 160 px, radii 2 and 4 are 1 pixel
        names = [name for name in ADDITIONAL if name.startswith("granularity")]
        assert [name for name in names if np.isnan(ADDITIONAL[name](sample))] == undefined


def test_nucleolar_share():
    nucleolus = ellipse(250, 250, 10, 10)
    blue = channel(NUCLEUS)
    blue[nucleolus] = 100
    nuclei = segmented(channel(NUCLEUS))
    assert additional.nucleolar_share(channel(nucleolus), blue, nuclei, 4) == 1.0
    even = additional.nucleolar_share(channel(NUCLEUS), blue, nuclei, 4)
    assert even == pytest.approx(10**2 / 36**2, rel=0.08)
    assert np.isnan(additional.nucleolar_share(channel(NUCLEUS), channel(NUCLEUS), nuclei, 4))


def test_nuclear_rim_share():
    shell = ellipse(250, 260, 42, 42) & ~ellipse(250, 260, 38, 38)
    assert additional.nuclear_rim_share(channel(shell), NUCLEUS, 4) == pytest.approx(1.0)
    assert additional.nuclear_rim_share(channel(ellipse(250, 260, 20, 20)), NUCLEUS, 4) == 0.0
    assert np.isnan(additional.nuclear_rim_share(channel(shell), channel() > 0, 4))


def test_correlation_is_pearsons():
    image_HWK = noise(3, 128)
    a, b = image_HWK[..., 0], image_HWK[..., 1]
    assert additional.correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert additional.correlation(a, 255 - a) == pytest.approx(-1.0)
    assert np.isnan(additional.correlation(a, np.full_like(a, 7)))


def test_each_correlation_is_with_its_own_channel():
    planes = noise(4, 128)
    names = {"correlation_microtubules": 0, "correlation_nucleus": 2, "correlation_er": 3}
    for name, number in names.items():
        image_HWK = planes.copy()
        image_HWK[..., number] = image_HWK[..., 1]
        values = {other: ADDITIONAL[other](PreparedSample(image_HWK)) for other in names}
        assert values.pop(name) == pytest.approx(1.0) and max(values.values()) < 0.5


def test_segments_per_nucleus():
    green = channel(ellipse(60, 60, 12, 12), ellipse(60, 160, 12, 12), ellipse(200, 60, 12, 12))
    assert additional.segments_per_nucleus(segmented(green), segmented(channel(NUCLEUS))) == 3.0
    assert np.isnan(additional.segments_per_nucleus(segmented(green), segmented(channel())))
