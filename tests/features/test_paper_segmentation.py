import cv2
import numpy as np
import pytest

from lib.data import kaggle
from lib.features import biological
from lib.features.biological import SEGMENT_AREA, TEN, measure
from lib.features.paper_segmentation import background_borders, components, inside_and_outside, smoothed
from tests.conftest import REAL, needs_real
from tests.features.shapes import SIZE, channel, ellipse, noise


def text(channel_HW):
    return components(channel_HW, *SEGMENT_AREA)


def code(channel_HW):
    return background_borders(channel_HW, *SEGMENT_AREA)


# the text: contours of connected components, and ellipses fitted to them


def test_a_rectangle_has_the_area_and_perimeter_of_the_polygon_through_its_border_pixels():
    rectangle = np.zeros((SIZE, SIZE), np.uint8)
    rectangle[100:131, 200:281] = 255  # 31 x 81 pixels
    found = text(rectangle)
    assert found.area_S.tolist() == [30 * 80] and found.perimeter_S.tolist() == [2 * (30 + 80)]
    assert found.centre_S2.tolist() == [[115, 240]]
    assert (found.labels_HW > 0).tolist() == (rectangle > 0).tolist()


def test_ellipses_have_their_axes_angles_and_centres():
    found = text(channel(ellipse(120, 150, 60, 20, 0.5), ellipse(350, 300, 50, 25, 2.0)))
    assert found.ellipse_S5 == pytest.approx(
        np.array([[350, 300, 100, 50, np.degrees(2)], [120, 150, 120, 40, np.degrees(0.5)]]), abs=1.5
    )
    # the polygon lies half a pixel inside the border
    assert found.area_S == pytest.approx([np.pi * 49.5 * 24.5, np.pi * 59.5 * 19.5], rel=0.01)
    assert biological.eccentricity(found, inverse=True) == pytest.approx((3 + 2) / 2, rel=0.03)
    assert biological.eccentricity(found) == pytest.approx((1 / 3 + 1 / 2) / 2, rel=0.03)


def test_the_compactness_of_a_disc_is_that_of_its_octagonal_path():
    # steps along a circle: a chain of straight and diagonal steps is 8 tan(pi/8) / pi = 1.055 times as long
    (ratio,) = text(channel(ellipse(256, 256, 90, 90))).perimeter_S / (2 * np.pi * 89.5)
    assert ratio == pytest.approx(8 * np.tan(np.pi / 8) / np.pi, rel=0.01)


def test_touching_discs_are_one_component():
    touching = channel(ellipse(200, 200, 40, 40), ellipse(200, 275, 40, 40))
    assert len(text(touching).area_S) == 1


def test_holes_belong_to_a_component_and_what_lies_in_them_is_a_component():
    ring, disc = ellipse(256, 256, 80, 80) & ~ellipse(256, 256, 60, 60), ellipse(256, 256, 30, 30)
    found = text(channel(ring, disc))
    assert sorted(found.area_S) == pytest.approx([np.pi * 29.5**2, np.pi * 79.5**2], rel=0.01)
    inner, outer = np.argsort(found.area_S) + 1
    assert found.labels_HW[256, 256] == inner and found.labels_HW[256, 256 + 45] == outer


def test_components_at_the_edge_count_and_those_beyond_the_limits_do_not():
    corner = np.zeros((SIZE, SIZE), np.uint8)
    corner[:40, :40] = 255
    assert text(corner).area_S.tolist() == [39 * 39]
    for limits, count in (((39 * 39 - 1, 39 * 39 + 1), 1), ((39 * 39, 9999), 0), ((0, 39 * 39), 0)):
        assert len(components(corner, *limits).area_S) == count


def test_a_component_with_too_few_border_pixels_has_the_axes_of_a_rectangle():
    small = np.zeros((20, 20), np.uint8)
    small[5:7, 5:7] = 255  # 4 pixels, a polygon of 1 x 1
    assert components(small, 0, 100).ellipse_S5.tolist() == [[5.5, 5.5, 1, 1, pytest.approx(0, abs=180)]]


# the code: borders of the background


def test_bright_regions_at_the_edge_do_not_count_and_enclosed_background_does():
    ring = ellipse(256, 256, 80, 80) & ~ellipse(256, 256, 60, 60)
    edge = ellipse(100, 0, 50, 50)
    found = code(channel(ring, edge, level=100))
    areas = sorted(found.area_S)
    assert len(areas) == 2  # what the ring encloses, and the ring with it
    assert areas[0] < np.pi * 60**2 and areas[1] > np.pi * 80**2  # the borders have moved outwards
    assert found.centre_S2 == pytest.approx(np.array([[256, 256]] * 2), abs=2)
    assert len(text(channel(ring, edge, level=100)).area_S) == 2  # the ring, and the disc at the edge


def test_the_border_of_a_disc_is_traced_just_outside_it():
    found = code(channel(ellipse(256, 256, 60, 30), level=100))
    assert found.area_S == pytest.approx([np.pi * 61.5 * 31.5], rel=0.03)
    assert found.ellipse_S5[:, 2:4] == pytest.approx(np.array([[123, 63]]), abs=1.5)


def test_doubled_grey_levels_overflow():
    disc = ellipse(256, 256, 40, 40)
    assert len(code(channel(disc, level=127)).area_S) == 1
    assert len(code(channel(disc, level=128)).area_S) == 0  # 256 is 0


def test_nuclei_of_feature_1_and_the_first_basin_of_their_surroundings():
    stripe = np.zeros((96, 96), np.uint8)
    stripe[:, 46:50] = 200
    inside_HW, outside_HW = inside_and_outside(stripe, 7, 21)
    assert inside_HW[1:-1, 46:50].all() and not outside_HW[:, 46:].any()
    assert outside_HW[1:-1, 1:20].all()  # the right half is neither
    assert not inside_HW[1:-1, 75:95].any()
    green = np.full((96, 96), 10, np.uint8)
    expected = inside_HW.sum() / outside_HW.sum()
    assert biological.nuclear_ratio(green, inside_HW, outside_HW) == pytest.approx(expected)


@pytest.mark.parametrize("level", [0, 255])
def test_a_constant_image_has_no_nuclei_and_no_segments(level):
    constant = np.full((64, 64), level, np.uint8)
    assert not any(mask_HW.any() for mask_HW in inside_and_outside(constant, 3, 9))
    for find in (components, background_borders):
        assert len(find(smoothed(constant, 3, 9), 2, 1500).area_S) == 0


def test_smoothing_stretches_to_the_whole_range_and_removes_noise():
    random = np.random.default_rng(0)
    square = np.full((64, 64), 50, np.uint8)
    square[16:48, 16:48] = 100
    noisy = (square + random.normal(0, 2, square.shape)).clip(0, 255).astype(np.uint8)
    smooth = smoothed(noisy, 7, 21)
    stretched = cv2.normalize(noisy, None, 0, 255, cv2.NORM_MINMAX)
    assert smooth[24:40, 24:40].mean() - smooth[:8].mean() == pytest.approx(
        float(stretched[24:40, 24:40].mean()) - float(stretched[:8].mean()), rel=0.05
    )
    assert smooth[24:40, 24:40].std() < stretched[24:40, 24:40].std() / 3


# both


@pytest.mark.parametrize("segmentation", ["paper", "paper_code"])
@pytest.mark.parametrize("size", [16, 64])
def test_small_images_have_features(segmentation, size):
    for image_HWK in (noise(1, size), np.random.default_rng(0).integers(0, 256, (size, size, 4), np.uint8)):
        values = measure(image_HWK, "fast", TEN, segmentation)
        assert (np.isnan(values) | (values >= -1)).all()
        assert not np.isnan(values[1:6]).any()


@pytest.mark.parametrize("segmentation", ["paper", "paper_code"])
def test_flips_change_little(segmentation):
    image_HWK = noise(5, 192)
    one = measure(image_HWK, "fast", TEN, segmentation)
    other = measure(np.ascontiguousarray(image_HWK[:, ::-1]), "fast", TEN, segmentation)
    # which basin is the first depends on the orientation, and with it the published code's first feature
    first = 1 if segmentation == "paper_code" else 0
    assert other[first:] == pytest.approx(one[first:], rel=0.1)


# computed by running the steps of the published code, apart from this project
PUBLISHED = (0.43854, 1.416, 0.71478, 0.62079, 34.301)


@needs_real
def test_a_real_image_has_the_values_of_the_published_code():
    sample = kaggle.read_labels(REAL / "kaggle_mini")[0][10]
    values = measure(kaggle.read_image(REAL / "kaggle_mini", "train", sample), "paper", TEN, "paper_code")
    assert values[[0, 6, 7, 8, 9]] == pytest.approx(PUBLISHED, rel=0.01)
