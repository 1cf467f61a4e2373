import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from lib.data import kaggle
from lib.features import biological
from lib.features.additional import COLUMNS
from lib.features.biological import TEN, PreparedSample, measure
from tests.conftest import REAL, needs_real
from tests.features.reference import NAMES, denoised, reference
from tests.features.shapes import NUCLEUS, SIZE, channel, ellipse, image, noise, segmented

SSIM_CHANNELS = {"ssim_microtubules": 0, "ssim_nucleus": 2, "ssim_er": 3}


def ten(image_HWK, denoise="fast"):
    return dict(zip(TEN, measure(image_HWK, denoise, TEN), strict=True))


def undefined(values):
    return {name for name, value in values.items() if np.isnan(value)}


def test_names_and_weights_are_the_papers():
    assert tuple(TEN) == NAMES
    assert biological.WEIGHTS == (2, 4, 1, 1, 2, 1, 1, 0.5, 0.5, 2)


# images with known values


def test_compactness_and_eccentricity():
    disc = segmented(channel(ellipse(256, 200, 60, 60)))
    assert biological.compactness(disc) == pytest.approx(1.0, abs=0.02)
    square = np.zeros((SIZE, SIZE), np.uint8)
    square[100:180, 100:180] = 255
    assert biological.compactness(segmented(square)) > 1.05
    both = segmented(channel(ellipse(120, 150, 60, 20, 0.5), ellipse(350, 300, 50, 25, 2.0)))
    assert biological.eccentricity(both) == pytest.approx((1 / 3 + 1 / 2) / 2, abs=0.005)


def test_protein_exactly_in_the_nucleus():
    green = channel(NUCLEUS)
    assert biological.nuclear_ratio(green, NUCLEUS) == np.inf
    values = ten(image(green=green, blue=green, yellow=channel(ellipse(256, 256, 200, 200))))
    assert values["nuclear_ratio"] > 100
    assert values["ssim_nucleus"] == pytest.approx(1.0)
    assert values["segment_over_nucleus_area"] == pytest.approx(1.0)
    assert values["nucleus_distance"] == pytest.approx(0.0)
    assert values["protein_over_er"] == pytest.approx(40**2 / 200**2, rel=0.01)
    assert values["protein_area"] == pytest.approx(np.pi * 40**2, rel=0.1)


def test_protein_in_a_nucleolus_is_protein_in_the_nucleus():
    nucleolus = ellipse(250, 250, 14, 14)
    values = ten(image(green=channel(nucleolus), blue=channel(NUCLEUS & ~nucleolus)))
    assert values["nuclear_ratio"] > 100


def test_protein_exactly_outside_the_nucleus():
    ring = ellipse(250, 260, 90, 90) & ~NUCLEUS
    assert biological.nuclear_ratio(channel(ring), NUCLEUS) == 0.0
    values = ten(image(green=channel(ellipse(250, 380, 30, 30)), blue=channel(NUCLEUS)))
    assert values["nuclear_ratio"] < 0.001
    assert values["nucleus_distance"] == pytest.approx(120, abs=0.5)
    assert values["segment_over_nucleus_area"] == pytest.approx(30**2 / 40**2, rel=0.01)


def test_protein_half_inside_and_half_outside():
    green = channel(NUCLEUS) + channel(ellipse(100, 100, 40, 40))
    assert biological.nuclear_ratio(green, NUCLEUS) == pytest.approx(1.0, rel=0.01)


def test_the_distance_is_to_the_nearest_nucleus():
    blue = channel(ellipse(100, 100, 30, 30), ellipse(400, 400, 30, 30))
    green = channel(ellipse(160, 100, 20, 20), ellipse(400, 300, 20, 20))
    assert ten(image(green=green, blue=blue))["nucleus_distance"] == pytest.approx((60 + 100) / 2, abs=0.5)


def test_equal_channels_are_similar():
    one = noise(0)[..., 0]
    values = ten(image(one, one, one, one))
    assert [values[name] for name in SSIM_CHANNELS] == pytest.approx([1.0] * 3)
    assert values["protein_over_er"] == 1.0


@pytest.mark.parametrize("name", SSIM_CHANNELS)
def test_each_similarity_is_with_its_own_channel(name):
    image_HWK = noise(4, 128)
    image_HWK[..., SSIM_CHANNELS[name]] = image_HWK[..., 1]
    values = ten(image_HWK)
    assert [other for other in SSIM_CHANNELS if values[other] == pytest.approx(1.0)] == [name]


def test_features_of_an_empty_green_channel_are_undefined():
    values = ten(image(red=channel(NUCLEUS), blue=channel(NUCLEUS), yellow=channel(NUCLEUS)))
    assert undefined(values) == {
        "nuclear_ratio", "protein_area", "compactness", "eccentricity", "segment_over_nucleus_area",
        "nucleus_distance",
    }  # fmt: skip
    assert values["protein_over_er"] == 0.0  # this is defined


def test_features_without_a_nucleus_are_undefined():
    values = ten(image(green=channel(NUCLEUS), yellow=channel(NUCLEUS)))
    assert undefined(values) == {"nuclear_ratio", "segment_over_nucleus_area", "nucleus_distance"}


def test_the_ratio_to_an_empty_yellow_channel_is_undefined():
    assert undefined(ten(image(green=channel(NUCLEUS), blue=channel(NUCLEUS)))) == {"protein_over_er"}


@pytest.mark.parametrize(
    ("size", "segmentation"), [(64, "watershed"), (512, "watershed"), (64, "paper"), (64, "paper_code")]
)
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_saturated_images_raise_nothing(size, segmentation, level):
    image_HWK = np.full((size, size, 4), level, np.uint8)
    values = measure(image_HWK, "fast", COLUMNS["all"], segmentation)
    named = dict(zip(COLUMNS["all"], values, strict=True))
    assert named["ssim_er"] == pytest.approx(1.0)
    expected = {
        "nuclear_ratio", "compactness", "nucleus_distance", "segments_per_nucleus", "correlation_er",
    }  # fmt: skip
    assert expected <= undefined(named)
    assert np.isnan(named["protein_over_er"]) == (level == 0)
    if level:
        assert named["protein_over_er"] == 1.0 and named["protein_area"] == 512 * 512


def test_the_paper_s_eccentricity_is_the_inverse_of_ours_and_of_its_code_s():
    image_HWK = image(green=channel(ellipse(60, 60, 36, 12)), blue=channel(ellipse(60, 60, 20, 20)))[
        :128, :128
    ]
    function = {"eccentricity": TEN["eccentricity"]}
    ours, text, code = (
        measure(image_HWK, "fast", function, segmentation).item() for segmentation in biological.SEGMENTATIONS
    )
    assert (ours, code) == pytest.approx((1 / 3, 1 / 3), abs=0.06)  # its code traces pixels around it
    assert text == pytest.approx(3, rel=0.1)


def test_nuclear_protein_is_inside_in_all_segmentations():
    image_HWK = image(green=channel(NUCLEUS), blue=channel(NUCLEUS))[160:352, 160:352]
    function = {"nuclear_ratio": TEN["nuclear_ratio"]}
    for segmentation in biological.SEGMENTATIONS:
        assert measure(image_HWK, "fast", function, segmentation) > 10


# other implementations


def test_similarity_is_that_of_scikit_image():
    image_HWK = noise(1, 256)
    for (first, second), side in (
        ((0, 1), 7),
        ((1, 2), 7),
        ((2, 3), 7),
        ((0, 1), 5),
        ((1, 2), 5),
        ((2, 3), 5),
    ):
        a, b = image_HWK[..., first], image_HWK[..., second]
        expected = structural_similarity(a, b, win_size=side)
        assert biological.structural_similarity(a, b, side) == pytest.approx(expected, rel=1e-5)


def test_the_fast_denoiser_is_the_wiener_filter():
    green = noise(2)[..., 1]
    ours = PreparedSample(noise(2)).denoised["green"].astype(int)
    difference = np.abs(ours - denoised(green).astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-4
    assert np.abs(ours - np.rint(green * (255 / green.max()))).mean() > 1  # it does something


@pytest.mark.parametrize("name", biological.DENOISERS)
def test_denoising_smooths_flat_regions_and_preserves_edges(name):
    random = np.random.default_rng(0)
    noisy = (channel(NUCLEUS, level=180) + random.normal(40, 6, (SIZE, SIZE))).clip(0, 255).astype(np.uint8)
    noisy = noisy[150:350, 160:360]
    inside, outside = ellipse(100, 100, 34, 34)[:200, :200], ~ellipse(100, 100, 46, 46)[:200, :200]
    smooth = biological.DENOISERS[name](noisy, 7, 8)
    assert smooth[outside].std() < noisy[outside].std() / 2
    assert smooth[inside].mean() - smooth[outside].mean() == pytest.approx(180, abs=3)


@pytest.mark.parametrize("seed", range(3))
def test_random_structure_matches_the_reference(seed):
    assert_matches_reference(noise(seed))


@needs_real
def test_real_images_match_the_reference():
    ids, _ = kaggle.read_labels(REAL / "kaggle_mini")
    for sample in ids[::6]:
        assert_matches_reference(kaggle.read_image(REAL / "kaggle_mini", "train", sample))


def assert_matches_reference(image_HWK):
    ours, expected = ten(image_HWK), reference(image_HWK)
    assert list(ours) == list(expected)
    for name in NAMES:
        assert ours[name] == pytest.approx(expected[name], rel=1e-3, nan_ok=True), name


# invariants


@pytest.mark.parametrize("denoise", biological.DENOISERS)
def test_rotations_and_flips_change_nothing(denoise):
    image_HWK = noise(5)
    expected = measure(image_HWK, denoise, COLUMNS["all"])
    for other in (np.rot90(image_HWK), image_HWK[:, ::-1]):  # all others are combinations of these
        # where two segments meet, a pixel can fall to the other side
        values = measure(np.ascontiguousarray(other), denoise, COLUMNS["all"])
        assert values == pytest.approx(expected, rel=0.02, abs=0.005)


def test_the_number_of_threads_changes_nothing():
    image_HWK, threads, found = noise(11), cv2.getNumThreads(), []
    try:
        for count in (1, 2, 4):
            cv2.setNumThreads(count)
            found.append(measure(image_HWK, "fast", COLUMNS["all"]))
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_lengths_and_areas_do_not_depend_on_the_size_of_the_array():
    full = image(
        green=channel(ellipse(250, 380, 30, 20), ellipse(120, 100, 24, 24)),
        blue=channel(NUCLEUS, ellipse(90, 160, 30, 30)),
        yellow=channel(ellipse(256, 256, 200, 200)),
    )
    half = cv2.resize(full, (256, 256), interpolation=cv2.INTER_AREA)
    large, small = ten(full), ten(half)
    for name in (
        "protein_over_er", "segment_over_nucleus_area", "nucleus_distance", "eccentricity", "compactness",
    ):  # fmt: skip
        assert small[name] == pytest.approx(large[name], rel=0.06), name
    assert small["protein_area"] == pytest.approx(large["protein_area"], rel=0.2)


def test_windows_are_odd_and_scale_with_the_image():
    assert [biological.window(7, size) for size in (512, 256, 128, 64, 1536)] == [7, 3, 3, 3, 21]
    assert [biological.window(21, size) for size in (512, 256)] == [21, 11]
