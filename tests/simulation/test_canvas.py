import cv2
import numpy as np
import pytest

from lib.simulation.canvas import Canvas, directions, segments

SQUARE = np.array([[[100.0, 100.0], [300.0, 100.0], [300.0, 300.0], [100.0, 300.0]]])


def test_noise_has_unit_std_at_any_grain():
    for size, grain in ((512, 1.5), (512, 4.0), (128, 4.0), (128, 20.0)):
        noise_HW = Canvas(size, 512).noise(np.random.default_rng(0), grain)
        assert abs(noise_HW.mean()) < 0.2
        assert noise_HW.std() == pytest.approx(0.95, abs=0.1)
    finer_HW = Canvas(128, 512).noise(np.random.default_rng(0), 1.5)  # averaged within the pixels
    assert finer_HW.std() < 0.5


def test_noise_takes_one_random_number_whatever_the_size():
    numbers = []
    for size in (64, 256):
        rng = np.random.default_rng(0)
        Canvas(size, 512).noise(rng, 4.0)
        numbers.append(rng.uniform())
    assert numbers[0] == numbers[1]


def test_noise_moves_with_the_field():
    still, shifted = (
        Canvas(256, 256, origin).noise(np.random.default_rng(0), 8.0) for origin in ((0, 0), (5, -3))
    )
    np.testing.assert_allclose(still[:-3, 5:], shifted[3:, :-5], atol=1e-3)


def test_blur_keeps_the_total_and_widens():
    point_HW = np.zeros((256, 256), np.float32)
    point_HW[128, 128] = 1
    for radius in (1.0, 3.0, 12.0):  # the widest on a coarser grid
        blurred_HW = Canvas(256, 256).blur(point_HW, radius)
        assert blurred_HW.sum() == pytest.approx(1, abs=0.03)
        x = np.arange(256) - 128
        assert np.sqrt((blurred_HW * x**2).sum()) == pytest.approx(radius, rel=0.15)
    assert Canvas(64, 512).blur(point_HW, 1.0) is point_HW  # finer than a pixel


def test_distance_is_in_units_and_limited():
    mask_HW = np.ones((64, 64), np.uint8)
    assert (Canvas(64, 512).distance(mask_HW) == 512).all()
    mask_HW[:, 0] = 0
    assert Canvas(64, 512).distance(mask_HW)[30, :4] == pytest.approx([0, 8, 16, 24], rel=0.05)


@pytest.mark.parametrize("size", [128, 512])
def test_polygons_cover_their_area(size):
    canvas = Canvas(size, 512)
    covered = canvas.coverage(SQUARE).sum() / canvas.scale**2
    assert covered == pytest.approx(200**2, rel=0.02)
    assert canvas.coverage(SQUARE).max() == 1
    assert canvas.coverage(np.empty((0, 4, 2))).max() == 0


def test_later_polygons_cover_earlier_ones():
    image_HW = Canvas(512, 512).polygons(np.concatenate([SQUARE, SQUARE + 100]), np.array([3, 5]), False)
    assert np.unique(image_HW).tolist() == [0, 3, 5]
    assert image_HW[150, 150] == 3 and image_HW[250, 250] == 5 and image_HW[350, 350] == 5


def test_a_shifted_canvas_shows_the_same_content_elsewhere():
    still, shifted = (Canvas(512, 512, origin).coverage(SQUARE) for origin in ((0, 0), (8, -4)))
    assert np.array_equal(still[:-4, 8:], shifted[4:, :-8])


def test_strokes_have_their_brightness_and_add_up():
    canvas = Canvas(512, 512)
    horizontal, vertical = np.array([[50.0, 256], [450, 256]]), np.array([[256.0, 50], [256, 450]])
    line_HW = canvas.strokes(horizontal[None], 3.0, np.array([0.5]))
    assert line_HW[256, 100] == pytest.approx(0.5, abs=0.01) and line_HW[300].max() == 0
    cross_HW = canvas.strokes(np.stack([horizontal, vertical]), 3.0, np.ones(2))
    assert cross_HW[256, 256] == pytest.approx(2) and cross_HW[256, 100] == pytest.approx(1)
    thin_HW = Canvas(128, 512).strokes(horizontal[None] + 2, 1.0, np.ones(1))  # a quarter of a pixel wide
    assert thin_HW.max() == pytest.approx(0.25, rel=0.15)
    assert canvas.strokes(np.empty((0, 2, 2)), 1.0, np.empty(0)).max() == 0


def test_dots_have_their_peak_and_total():
    point, radius = np.array([[200.3, 150.7]]), np.array([2.0])
    for size in (256, 512):
        canvas = Canvas(size, 512)
        dot_HW = canvas.dots(point, radius, np.array([0.8]))
        total = dot_HW.sum() / canvas.scale**2
        assert total == pytest.approx(0.8 * 2 * np.pi * radius[0] ** 2, rel=0.02)
    assert dot_HW.max() == pytest.approx(0.8, rel=0.1)
    y, x = np.unravel_index(dot_HW.argmax(), dot_HW.shape)
    assert (x, y) == (200, 150)  # the pixel that contains the point
    both_HW = canvas.dots(np.repeat(point, 2, axis=0), np.repeat(radius, 2), np.array([0.8, 0.8]))
    np.testing.assert_allclose(both_HW, 2 * dot_HW, atol=1e-5)
    assert canvas.dots(np.array([[-50.0, 9.0]]), radius, np.ones(1)).max() == 0


def test_border_is_the_outline():
    border_HW = Canvas(512, 512).border(SQUARE)
    assert set(np.unique(border_HW)) == {0, 1}
    assert border_HW[200, 99:101].any() and not border_HW[200, 110:290].any()
    filled = cv2.floodFill(border_HW.copy(), None, (200, 200), 2)[0]
    assert filled < 210**2  # closed


def test_the_dot_size_is_a_factor_on_all_radii():
    points, radii = np.array([[20.0, 20.0], [40.0, 40.0]]), np.array([1.0, 2.5])
    normal, large = Canvas(64, 64), Canvas(64, 64, dot_size=1.6)
    assert np.array_equal(large.dots(points, radii, np.ones(2)), normal.dots(points, 1.6 * radii, np.ones(2)))


def test_segments_and_directions():
    half = directions(np.array([np.pi / 2])) * 3
    assert half == pytest.approx(np.array([[0, 3]]), abs=1e-9)
    assert segments(np.array([[10.0, 20.0]]), half) == pytest.approx(np.array([[[10, 17], [10, 23]]]))
