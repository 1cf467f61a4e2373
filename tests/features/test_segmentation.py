import numpy as np
import pytest

from lib.features.segmentation import segment
from tests.features.shapes import SIZE, channel, ellipse, noise, segmented


def test_a_disc_has_its_area_perimeter_and_centre():
    disc = segmented(channel(ellipse(256, 200, 60, 60)))
    assert disc.area_S == pytest.approx([np.pi * 60**2], rel=0.005)
    assert disc.perimeter_S == pytest.approx([2 * np.pi * 60], rel=0.01)
    assert disc.axis_ratio_S == pytest.approx([1.0], abs=1e-3)
    assert disc.centre_S2 == pytest.approx(np.array([[256, 200]]), abs=1e-9)


def test_the_perimeter_of_a_square_is_crofton_s():
    square = np.zeros((SIZE, SIZE), np.uint8)
    square[100:180, 100:180] = 255
    found = segmented(square)
    assert found.area_S == [6400.0]
    # four directions by hand: 80 rows and 80 columns crossed twice, 159 diagonals each way
    assert found.perimeter_S == pytest.approx([np.pi / 8 * (160 + 160 + 2 * 318 / np.sqrt(2))])


def test_two_ellipses_have_their_axes_and_areas():
    both = segmented(channel(ellipse(120, 150, 60, 20, 0.5), ellipse(350, 300, 50, 25, 2.0)))
    assert sorted(both.axis_ratio_S) == pytest.approx([1 / 3, 1 / 2], abs=0.005)
    assert sorted(both.area_S) == pytest.approx(sorted([np.pi * 60 * 20, np.pi * 50 * 25]), rel=0.01)


def test_the_axis_ratio_of_a_small_rectangle_is_exact():
    rectangle = np.zeros((64, 64), np.uint8)
    rectangle[20:23, 30:42] = 255  # 3 x 12 pixels
    assert segment(rectangle, 10, 1000).axis_ratio_S == pytest.approx([3 / 12])


def test_touching_discs_are_separated_but_not_at_a_wide_waist():
    touching = channel(ellipse(200, 200, 40, 40), ellipse(200, 275, 40, 40))
    separated = segmented(touching)
    assert len(separated.area_S) == 2
    assert separated.centre_S2[:, 1] == pytest.approx([200, 275], abs=2)
    assert separated.area_S.sum() == np.count_nonzero(touching)
    merged = segmented(channel(ellipse(200, 200, 40, 40), ellipse(200, 240, 40, 40)))
    assert len(merged.area_S) == 1


def test_holes_are_filled_on_request_only():
    ring = channel(ellipse(256, 256, 60, 60) & ~ellipse(256, 256, 20, 20))
    hollow, filled = segmented(ring), segmented(ring, fill_holes=True)
    assert hollow.area_S == pytest.approx([np.pi * (60**2 - 20**2)], rel=0.01)
    assert hollow.perimeter_S == pytest.approx([2 * np.pi * 80], rel=0.01)  # both borders
    assert filled.area_S == pytest.approx([np.pi * 60**2], rel=0.01)


def test_segments_outside_the_limits_of_area_are_left_out():
    small, fits = ellipse(40, 40, 6, 6), ellipse(40, 100, 9, 9)  # 113 and 254 px
    assert segmented(channel(small, fits)).area_S == pytest.approx([254], abs=4)
    assert len(segmented(channel(ellipse(256, 256, 200, 200))).area_S) == 0  # 125,664 px
    square = np.zeros((SIZE, SIZE), np.uint8)
    square[100:110, 100:110] = 255
    assert len(segment(square, 99, 101).area_S) == 1
    assert len(segment(square, 100, 101).area_S) == len(segment(square, 99, 100).area_S) == 0  # excluded


def test_a_segment_at_the_edge_of_the_image_has_a_border_there():
    corner = np.zeros((SIZE, SIZE), np.uint8)
    corner[:40, :40] = 255
    inside = np.roll(corner, (100, 100), axis=(0, 1))
    assert segmented(corner).perimeter_S == pytest.approx(segmented(inside).perimeter_S)


def test_labels_are_numbered_without_gaps_and_match_the_measurements():
    found = segment(noise(3, 256)[..., 1], 30, 5000)
    numbers, areas = np.unique(found.labels_HW, return_counts=True)
    assert numbers.tolist() == list(range(len(found.area_S) + 1)) and len(numbers) > 10
    assert areas[1:].tolist() == found.area_S.tolist()
    for number in (1, len(found.area_S)):
        assert found.centre_S2[number - 1] == pytest.approx(
            np.argwhere(found.labels_HW == number).mean(axis=0)
        )


@pytest.mark.parametrize("level", [0, 255])
def test_a_constant_image_has_no_segments(level):
    assert len(segmented(np.full((SIZE, SIZE), level, np.uint8)).area_S) == 0
