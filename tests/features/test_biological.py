import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from lib.data import kaggle
from lib.features import additional, biological
from lib.features.additional import COLUMNS, MORE
from lib.features.biological import TEN, Sample, measure
from lib.features.segmentation import segment
from lib.labels import FEATURES
from tests.conftest import REAL, needs_real
from tests.features.reference import NAMES, denoised, reference

SIDE = 512
ROWS, COLUMNS_HW = np.mgrid[:SIDE, :SIDE].astype(float)


def ellipse(row, column, a, b, angle=0.0):
    """A filled ellipse with half axes a and b, True inside."""
    y, x = ROWS - row, COLUMNS_HW - column
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (u / a) ** 2 + (v / b) ** 2 <= 1


def plane(*masks, level=200):
    return (np.any(masks, axis=0) * level).astype(np.uint8) if masks else np.zeros((SIDE, SIDE), np.uint8)


def image(red=None, green=None, blue=None, yellow=None):
    return np.stack([plane() if p is None else p for p in (red, green, blue, yellow)], axis=-1)


def ten(image_HWK, denoise="fast"):
    return dict(zip(TEN, measure(image_HWK, denoise, TEN), strict=True))


def find(plane_HW):
    return segment(plane_HW, *biological.SEGMENT_AREA)


def noise(seed, side=SIDE):
    """Four channels of smooth structure with photon noise: something of every size, nowhere equal."""
    random = np.random.default_rng(seed)
    fields = [cv2.GaussianBlur(random.normal(size=(side, side)), (0, 0), side / 60) for _ in range(4)]
    planes = [random.poisson(np.maximum(f / f.std(), 0) * 40) for f in fields]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


NUCLEUS = ellipse(250, 260, 40, 40)


def test_names_are_the_papers_and_have_a_meaning():
    assert tuple(TEN) == NAMES and len(biological.WEIGHTS) == 10
    assert list(COLUMNS["all"]) == [*TEN, *MORE]
    assert [name for name in COLUMNS["all"] if name in FEATURES] == list(FEATURES)  # else its name serves


# segments of known shape


def test_a_disc_has_its_area_and_perimeter():
    disc = find(plane(ellipse(256, 200, 60, 60)))
    assert disc.area_S == pytest.approx([np.pi * 60**2], rel=0.005)
    assert disc.perimeter_S == pytest.approx([2 * np.pi * 60], rel=0.01)
    assert disc.axis_ratio_S == pytest.approx([1.0], abs=1e-3)
    assert disc.centre_S2 == pytest.approx(np.array([[256, 200]]), abs=1e-9)
    assert biological.compactness(disc) == pytest.approx(1.0, abs=0.02)


def test_a_square_is_less_compact_than_a_disc():
    square = np.zeros((SIDE, SIDE), np.uint8)
    square[100:180, 100:180] = 255
    found = find(square)
    assert found.area_S == [6400.0]
    # four directions by hand: 80 rows and 80 columns crossed twice, 159 diagonals each way
    assert found.perimeter_S == pytest.approx([np.pi / 8 * (160 + 160 + 2 * 318 / np.sqrt(2))])


def test_two_ellipses_have_their_axes():
    both = find(plane(ellipse(120, 150, 60, 20, 0.5), ellipse(350, 300, 50, 25, 2.0)))
    assert sorted(both.axis_ratio_S) == pytest.approx([1 / 3, 1 / 2], abs=0.005)
    assert biological.eccentricity(both) == pytest.approx((1 / 3 + 1 / 2) / 2, abs=0.005)
    assert sorted(both.area_S) == pytest.approx(sorted([np.pi * 60 * 20, np.pi * 50 * 25]), rel=0.01)


def test_touching_discs_are_parted_and_a_waist_is_not():
    touching = find(plane(ellipse(200, 200, 40, 40), ellipse(200, 275, 40, 40)))
    assert len(touching.area_S) == 2
    assert touching.centre_S2[:, 1] == pytest.approx([200, 275], abs=2)
    assert touching.area_S.sum() == np.count_nonzero(
        plane(ellipse(200, 200, 40, 40), ellipse(200, 275, 40, 40))
    )
    merged = find(plane(ellipse(200, 200, 40, 40), ellipse(200, 240, 40, 40)))
    assert len(merged.area_S) == 1


def test_holes_belong_to_a_nucleus_but_not_to_a_protein_segment():
    ring = plane(ellipse(256, 256, 60, 60) & ~ellipse(256, 256, 20, 20))
    hollow, whole = find(ring), segment(ring, *biological.SEGMENT_AREA, filled=True)
    assert hollow.area_S == pytest.approx([np.pi * (60**2 - 20**2)], rel=0.01)
    assert hollow.perimeter_S == pytest.approx([2 * np.pi * 80], rel=0.01)  # both borders
    assert whole.area_S == pytest.approx([np.pi * 60**2], rel=0.01)


def test_protein_in_a_nucleolus_is_protein_in_the_nucleus():
    nucleolus = ellipse(250, 250, 14, 14)
    values = ten(image(green=plane(nucleolus), blue=plane(NUCLEUS & ~nucleolus)))
    assert values["nuclear_ratio"] > 100


def test_the_number_of_threads_changes_nothing():
    threads, found = cv2.getNumThreads(), []
    for count in (1, 2, 4):
        cv2.setNumThreads(count)
        found.append(measure(noise(11), "fast", COLUMNS["all"]))
    cv2.setNumThreads(threads)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_small_and_large_segments_are_left_out():
    small, fits = ellipse(40, 40, 6, 6), ellipse(40, 100, 9, 9)  # 113 and 254 px
    assert find(plane(small, fits)).area_S == pytest.approx([254], abs=4)
    assert len(find(plane(ellipse(256, 256, 200, 200))).area_S) == 0  # 125,664 px


def test_a_segment_at_the_edge_of_the_image_has_a_border_there():
    half = np.zeros((SIDE, SIDE), np.uint8)
    half[:40, :40] = 255
    whole = np.roll(half, (100, 100), axis=(0, 1))
    assert find(half).perimeter_S == pytest.approx(find(whole).perimeter_S)


# cases with known answers


def test_protein_exactly_in_the_nucleus():
    green = plane(NUCLEUS)
    assert biological.nuclear_ratio(green, NUCLEUS) == np.inf
    values = ten(image(green=green, blue=green, yellow=plane(ellipse(256, 256, 200, 200))))
    assert values["nuclear_ratio"] > 100
    assert values["ssim_nucleus"] == pytest.approx(1.0)
    assert values["segment_over_nucleus_area"] == pytest.approx(1.0)
    assert values["nucleus_distance"] == pytest.approx(0.0)
    assert values["protein_over_er"] == pytest.approx(40**2 / 200**2, rel=0.01)
    assert values["protein_area"] == pytest.approx(np.pi * 40**2, rel=0.1)


def test_protein_exactly_outside_the_nucleus():
    ring = ellipse(250, 260, 90, 90) & ~NUCLEUS
    assert biological.nuclear_ratio(plane(ring), NUCLEUS) == 0.0
    values = ten(image(green=plane(ellipse(250, 380, 30, 30)), blue=plane(NUCLEUS)))
    assert values["nuclear_ratio"] < 0.001
    assert values["nucleus_distance"] == pytest.approx(120, abs=0.5)
    assert values["segment_over_nucleus_area"] == pytest.approx(30**2 / 40**2, rel=0.01)


def test_half_in_and_half_out():
    green = plane(NUCLEUS) + plane(ellipse(100, 100, 40, 40))
    assert biological.nuclear_ratio(green, NUCLEUS) == pytest.approx(1.0, rel=0.01)


def test_the_nearest_nucleus_counts():
    blue = plane(ellipse(100, 100, 30, 30), ellipse(400, 400, 30, 30))
    values = ten(image(green=plane(ellipse(160, 100, 20, 20), ellipse(400, 300, 20, 20)), blue=blue))
    assert values["nucleus_distance"] == pytest.approx((60 + 100) / 2, abs=0.5)


def test_equal_channels_are_alike():
    one = noise(0)[..., 0]
    values = ten(image(one, one, one, one))
    assert [values[f"ssim_{name}"] for name in ("microtubules", "er", "nucleus")] == pytest.approx([1.0] * 3)
    assert values["protein_over_er"] == 1.0


def test_empty_green_says_that_nothing_was_measured():
    values = ten(image(red=plane(NUCLEUS), blue=plane(NUCLEUS), yellow=plane(NUCLEUS)))
    unsaid = {name for name, value in values.items() if np.isnan(value)}
    assert unsaid == {
        "nuclear_ratio", "protein_area", "compactness", "eccentricity", "segment_over_nucleus_area",
        "nucleus_distance",
    }  # fmt: skip
    assert values["protein_over_er"] == 0.0  # that was measured


def test_empty_blue_says_that_there_is_no_nucleus():
    values = ten(image(green=plane(NUCLEUS), yellow=plane(NUCLEUS)))
    unsaid = {name for name, value in values.items() if np.isnan(value)}
    assert unsaid == {"nuclear_ratio", "segment_over_nucleus_area", "nucleus_distance"}


def test_empty_yellow_says_that_there_is_no_ratio():
    assert np.isnan(ten(image(green=plane(NUCLEUS), blue=plane(NUCLEUS)))["protein_over_er"])


@pytest.mark.parametrize("side", [64, 512])
def test_black_and_saturated_images_raise_nothing(side):
    for level in (0, 255):
        values = measure(np.full((side, side, 4), level, np.uint8), "fast", COLUMNS["all"])
        named = dict(zip(COLUMNS["all"], values, strict=True))
        assert named["ssim_er"] == pytest.approx(1.0)
        for name in (
            "nuclear_ratio",
            "compactness",
            "nucleus_distance",
            "segments_per_nucleus",
            "correlation_er",
        ):
            assert np.isnan(named[name]), name
        assert np.isnan(named["protein_over_er"]) == (level == 0)
        if level:
            assert named["protein_over_er"] == 1.0 and named["protein_area"] == 512 * 512


# against other implementations


def test_similarity_is_scikit_images():
    image_HWK = noise(1)
    for first, second in ((0, 1), (1, 2), (2, 3)):
        a, b = image_HWK[..., first], image_HWK[..., second]
        assert biological.structural_similarity(a, b) == pytest.approx(structural_similarity(a, b), rel=1e-5)
        assert biological.structural_similarity(a, b, 5) == pytest.approx(
            structural_similarity(a, b, win_size=5), rel=1e-5
        )


def test_the_fast_denoiser_is_the_wiener_filter():
    green = noise(2)[..., 1]
    clean = Sample(noise(2)).clean["green"].astype(int)
    difference = np.abs(clean - denoised(green).astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-4
    assert np.abs(clean - np.rint(green * (255 / green.max()))).mean() > 1  # it does something


def test_denoising_smooths_what_is_flat_and_keeps_edges():
    random = np.random.default_rng(0)
    noisy = (plane(NUCLEUS, level=180) + random.normal(40, 6, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
    inner, far = ellipse(250, 260, 34, 34), ~ellipse(250, 260, 46, 46)
    for name in biological.DENOISERS:
        clean = biological.DENOISERS[name](noisy, 7, 8)
        assert clean[far].std() < noisy[far].std() / 2
        assert clean[inner].mean() - clean[far].mean() == pytest.approx(180, abs=3)


@pytest.mark.parametrize("seed", range(3))
def test_simulated_structure_matches_the_reference(seed):
    assert_matches(noise(seed))


@needs_real
def test_real_files_match_the_reference():
    ids, _ = kaggle.read_labels(REAL / "kaggle_mini")
    for sample in ids[::6]:
        assert_matches(kaggle.read_image(REAL / "kaggle_mini", "train", sample))


def assert_matches(image_HWK):
    ours, theirs = ten(image_HWK), reference(image_HWK)
    assert list(ours) == list(theirs)
    for name in NAMES:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-3, nan_ok=True), name


# invariants


@pytest.mark.parametrize("denoise", ["fast", "paper"])
def test_turning_and_mirroring_change_nothing(denoise):
    image_HWK = noise(5)
    there = measure(image_HWK, denoise, COLUMNS["all"])
    for other in (np.rot90(image_HWK), image_HWK[:, ::-1], np.rot90(image_HWK, 3)[::-1]):
        # where two floods meet, a pixel can fall to the other side
        here = measure(np.ascontiguousarray(other), denoise, COLUMNS["all"])
        assert here == pytest.approx(there, rel=0.02, abs=0.005)


def test_lengths_and_areas_do_not_depend_on_the_size_of_the_array():
    whole = image(
        green=plane(ellipse(250, 380, 30, 20), ellipse(120, 100, 24, 24)),
        blue=plane(NUCLEUS, ellipse(90, 160, 30, 30)),
        yellow=plane(ellipse(256, 256, 200, 200)),
    )
    half = cv2.resize(whole, (256, 256), interpolation=cv2.INTER_AREA)
    large, small = ten(whole), ten(half)
    for name in (
        "protein_over_er",
        "segment_over_nucleus_area",
        "nucleus_distance",
        "eccentricity",
        "compactness",
    ):
        assert small[name] == pytest.approx(large[name], rel=0.06), name
    assert small["protein_area"] == pytest.approx(large["protein_area"], rel=0.2)


def test_windows_are_odd_and_follow_the_size():
    assert [biological.window(7, side) for side in (512, 256, 128, 64, 1536)] == [7, 3, 3, 3, 21]
    assert [biological.window(21, side) for side in (512, 256)] == [21, 11]


# ten more


def test_granularity_finds_the_size_of_the_grains():
    random = np.random.default_rng(0)
    for radius, column in ((3, "granularity_4"), (6, "granularity_8"), (12, "granularity_16")):
        masks = [ellipse(*random.uniform(30, 480, 2), radius + 0.3, radius + 0.3) for _ in range(12)]
        values = dict(zip(MORE, measure(image(green=plane(*masks)), "fast", MORE), strict=True))
        shares = {name: value for name, value in values.items() if name.startswith("granularity")}
        assert max(shares, key=shares.get) == column and shares[column] > 0.7, (radius, shares)


def test_granularity_finer_than_a_pixel_cannot_be_said():
    image_HWK = noise(0, side=64)
    assert np.isnan(MORE["granularity_2"](Sample(image_HWK)))
    assert MORE["granularity_16"](Sample(image_HWK)) >= 0


def test_nucleolar_share():
    nucleolus = ellipse(250, 250, 10, 10)
    blue = plane(NUCLEUS)
    blue[nucleolus] = 100
    nuclei = find(plane(NUCLEUS))
    only = additional.nucleolar_share(plane(nucleolus), blue, nuclei, 4)
    even = additional.nucleolar_share(plane(NUCLEUS), blue, nuclei, 4)
    assert only == 1.0
    assert even == pytest.approx(10**2 / 36**2, rel=0.08)
    assert np.isnan(additional.nucleolar_share(plane(NUCLEUS), plane(NUCLEUS), find(plane(NUCLEUS)), 4))


def test_nuclear_rim_share():
    shell = ellipse(250, 260, 42, 42) & ~ellipse(250, 260, 38, 38)
    assert additional.nuclear_rim_share(plane(shell), NUCLEUS, 4) == pytest.approx(1.0)
    assert additional.nuclear_rim_share(plane(ellipse(250, 260, 20, 20)), NUCLEUS, 4) == 0.0
    assert np.isnan(additional.nuclear_rim_share(plane(shell), plane() > 0, 4))


def test_correlation_is_numpys():
    a, b = noise(3)[..., 0], noise(3)[..., 1]
    assert additional.correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert additional.correlation(a, 255 - a) == pytest.approx(-1.0)
    assert np.isnan(additional.correlation(a, np.full_like(a, 7)))


def test_segments_per_nucleus():
    green = plane(ellipse(60, 60, 12, 12), ellipse(60, 160, 12, 12), ellipse(200, 60, 12, 12))
    assert additional.segments_per_nucleus(find(green), find(plane(NUCLEUS))) == 3.0
    assert np.isnan(additional.segments_per_nucleus(find(green), find(plane())))
