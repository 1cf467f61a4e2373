import numpy as np

from lib.figures import colors


def test_channels_are_merged_in_the_atlas_colours():
    image_HWK = np.zeros((1, 4, 4), np.uint8)
    image_HWK[0, range(4), range(4)] = 200  # one pixel of each channel alone
    assert colors.merged(image_HWK)[0].tolist() == [[200, 0, 0], [0, 200, 0], [0, 0, 200], [100, 100, 0]]
    image_HWK[:] = 255
    assert (colors.merged(image_HWK) == 255).all(), "sums saturate, they do not wrap around"


def test_one_channel_alone_is_in_its_colour():
    image_HWK = np.full((2, 3, 4), 200, np.uint8)
    shown = [colors.in_color(image_HWK, channel) for channel in range(4)]
    assert shown[0].shape == (2, 3, 3) and shown[0].dtype == np.uint8
    assert [pixels[0, 0].tolist() for pixels in shown] == [
        [200, 0, 0], [0, 200, 0], [50, 90, 200], [200, 200, 0],
    ]  # fmt: skip


def test_brightening_is_by_channel_and_bounded():
    image_HWK = np.zeros((20, 20, 4), np.uint8)
    image_HWK[:10, :, 0] = 51
    image_HWK[:10, :, 1] = 4  # hardly above noise: at most eightfold
    image_HWK[:10, :, 2] = 255
    bright_HWK = colors.brightened(image_HWK)
    assert bright_HWK[0, 0].tolist() == [255, 31, 255, 0]
    assert image_HWK[0, 0, 0] == 51, "the image itself is unchanged"
