import numpy as np
import pytest

from lib.labels import CHANNELS
from lib.simulation import camera
from lib.simulation.camera import CAMERAS, Acquisition, Exposure, draw_acquisition, record_channel
from lib.simulation.canvas import Canvas

CANVAS = Canvas(128, 512)
SHARP = Acquisition(blur=0.0, background_light=0.0, visibility=1.0, brightness={})


def record(light, exposure, brightness=0.0, acquisition=SHARP, canvas=CANVAS, seed=0):
    stain_HW = np.full((canvas.size, canvas.size), light, np.float32)
    rng = np.random.default_rng(seed)
    return record_channel(stain_HW, canvas, exposure, brightness, acquisition, rng).astype(float)


def test_there_is_an_exposure_for_every_channel():
    for recorder in CAMERAS.values():
        assert tuple(recorder.train) == tuple(recorder.test) == CHANNELS


def test_without_noise_the_light_is_recorded_as_it_is():
    exposure = Exposure(level=np.log(0.5), sigma=0.7, noise=1e-6, black=0.0, background=0.0)
    # the light, and 4 % of it scattered widely
    assert (record(0.6, exposure) == int(0.6 * 0.5 * 1.04 * 255)).all()
    assert (record(9.0, exposure) == 255).all()
    assert (record(-1.0, exposure) == 0).all()
    brighter = record(0.6, exposure, brightness=0.5)  # bright images differ less than dim ones
    assert brighter.mean() == pytest.approx(0.6 * 0.5 * 1.04 * 255 * np.exp(0.7 * 0.6 * 0.5), abs=1)
    dimmer = record(0.6, exposure, brightness=-0.5)
    assert dimmer.mean() == pytest.approx(0.6 * 0.5 * 1.04 * 255 * np.exp(-0.7 * 0.5), abs=1)


def test_the_variance_of_the_noise_is_proportional_to_the_light():
    exposure = Exposure(level=0.0, sigma=0.0, noise=0.2, black=0.0, background=0.0)
    variances = [record(light, exposure).var() for light in (0.1, 0.2, 0.4)]
    assert variances[1] / variances[0] == pytest.approx(2, rel=0.1)
    assert variances[2] / variances[1] == pytest.approx(2, rel=0.1)
    assert record(0.4, exposure).mean() == pytest.approx(0.4 * 1.04 * 255, rel=0.02)  # unbiased


def test_large_pixels_and_visibility_reduce_the_noise():
    exposure = Exposure(level=0.0, sigma=0.0, noise=0.2, black=0.0, background=0.0)
    noisy = record(0.3, exposure, canvas=Canvas(128, 128)).std()
    assert record(0.3, exposure, canvas=Canvas(128, 512)).std() == pytest.approx(noisy / 4, rel=0.15)
    clear = record(0.3, exposure, acquisition=SHARP._replace(visibility=2.0)).std()
    assert clear == pytest.approx(record(0.3, exposure).std() / 2, rel=0.1)


def test_the_black_level_leaves_dark_pixels_at_zero():
    exposure = Exposure(level=0.0, sigma=0.0, noise=0.05, black=0.03, background=1.0)
    assert (record(0.0, exposure, acquisition=SHARP._replace(background_light=0.002)) == 0).mean() > 0.9
    assert (
        record(0.0, exposure._replace(black=0.0), acquisition=SHARP._replace(background_light=0.1)).mean()
        > 20
    )


def conditions(name: str, well: int, image: int, visibility: float = 2.0) -> Acquisition:
    seeds = (np.random.default_rng(seed) for seed in ([0, well], [1, image]))
    return draw_acquisition(CAMERAS[name], visibility, *seeds)


@pytest.mark.parametrize("name", CAMERAS)
def test_the_conditions_of_an_image_are_random(name):
    drawn = [conditions(name, seed, seed) for seed in range(400)]
    recorder = CAMERAS[name]
    low, high = recorder.blur
    assert all(low <= a.blur <= high and a.visibility == 2.0 for a in drawn)
    assert np.median([a.blur for a in drawn]) == pytest.approx((low + high) / 2, rel=0.15)
    median = np.median([a.background_light for a in drawn])
    assert median == pytest.approx(recorder.background_light / 2, rel=0.3)
    brightness = np.array([[a.brightness[channel] for channel in CHANNELS] for a in drawn])
    assert brightness.mean(axis=0) == pytest.approx(0, abs=0.2)
    assert brightness.std(axis=0) == pytest.approx(1, abs=0.15)
    correlation = np.corrcoef(brightness.T)[np.triu_indices(len(CHANNELS), 1)]
    assert correlation == pytest.approx(recorder.common, abs=0.15)


def test_the_fields_of_a_well_are_imaged_alike():
    pairs = [
        (conditions("small", well, 2 * well), conditions("small", well, 2 * well + 1)) for well in range(400)
    ]
    for value in (lambda a: a.blur, lambda a: a.brightness["blue"]):
        first, second = np.array([[value(a) for a in pair] for pair in pairs]).T
        assert np.corrcoef(first, second)[0, 1] == pytest.approx(camera.WELL_SHARE, abs=0.1)
        assert np.abs(np.corrcoef(first[1:], second[:-1])[0, 1]) < 0.15
