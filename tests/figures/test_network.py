from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from lib.figures import network
from lib.figures.network import Block, Outline

IMAGE = [Block("input", "9 x 9 x 3"), Block("layer", "28", 1234)]
OUTPUT = [Block("concatenation", "38"), Block("sigmoid", "28")]


def boxes(axes):
    return [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]


def test_a_network_is_drawn_from_top_to_bottom(draw):
    (axes,) = draw(network.draw, Outline(IMAGE, [], OUTPUT), "title").axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["title", *(block.text for block in (*IMAGE, *OUTPUT))]
    assert "9 x 9 x 3" in IMAGE[0].text and "parameters" not in IMAGE[0].text
    assert "1,234 parameters" in IMAGE[1].text
    tops = [box.get_y() for box in boxes(axes)]
    assert tops == sorted(tops) and axes.yaxis_inverted() and len({box.get_x() for box in boxes(axes)}) == 1
    assert sum(isinstance(patch, FancyArrowPatch) for patch in axes.patches) == 3


def test_features_join_where_the_output_begins(draw):
    features = [Block("features", "10")]
    (axes,) = draw(network.draw, Outline(IMAGE, features, OUTPUT), "title").axes
    own = boxes(axes)
    assert len(own) == 5
    by_text = dict(zip([text.get_text() for text in axes.texts[1:]], own, strict=True))
    side, last_of_image, meeting = (by_text[block.text] for block in (features[0], IMAGE[-1], OUTPUT[0]))
    assert side.get_y() == last_of_image.get_y() and side.get_x() > last_of_image.get_x() + network.WIDTH
    arrow = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)][-1]
    _, (x, y) = arrow._posA_posB
    assert x == meeting.get_x() + network.WIDTH and meeting.get_y() < y < meeting.get_y() + network.HEIGHT
