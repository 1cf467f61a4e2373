import numpy as np

from lib.figures import colors


def test_channels_are_merged_in_the_atlas_colours():
    image_HWK = np.zeros((1, 4, 4), np.uint8)
    image_HWK[0, range(4), range(4)] = 200  # one pixel of each channel alone
    assert colors.merged(image_HWK)[0].tolist() == [[200, 0, 0], [0, 200, 0], [0, 0, 200], [100, 100, 0]]
    image_HWK[:] = 255
    assert (colors.merged(image_HWK) == 255).all(), "sums are cut off, they do not wrap around"
    assert colors.in_color(image_HWK, 3)[0, 0].tolist() == [255, 255, 0]


def test_brightening_is_by_channel_and_bounded():
    image_HWK = np.zeros((20, 20, 4), np.uint8)
    image_HWK[:10, :, 0] = 51
    image_HWK[:10, :, 1] = 4  # hardly above noise: at most eightfold
    image_HWK[:10, :, 2] = 255
    bright_HWK = colors.brightened(image_HWK)
    assert bright_HWK[0, 0].tolist() == [255, 31, 255, 0]
    assert image_HWK[0, 0, 0] == 51
