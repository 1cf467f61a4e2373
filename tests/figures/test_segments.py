import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Ellipse

from lib.features.biological import TEN, PreparedSample
from lib.figures import segments
from tests.features.shapes import channel, ellipse, image

NUCLEI = channel(ellipse(60, 60, 24, 18), ellipse(60, 190, 20, 20))
PROTEIN = channel(ellipse(60, 70, 12, 12), ellipse(150, 190, 30, 12))


def sample(segmentation="watershed", **channels):
    whole = image(**({"green": PROTEIN, "blue": NUCLEI} | channels))
    return PreparedSample(np.ascontiguousarray(whole[:256, :256]), segmentation=segmentation)


def collections(axis, kind):
    return [item for item in axis.collections if type(item) is kind]


def title(axis):
    return axis.get_title(loc="left")


def test_the_protein_is_divided_by_the_nucleus_mask(draw):
    shown = [sample(), sample(green=channel(ellipse(60, 60, 8, 8)))]
    axes = draw(segments.protein_in_nuclei, shown, ["first", "second"], "toy").axes
    assert len(axes) == 8
    for row, one in zip((axes[:4], axes[4:]), shown, strict=True):
        nuclei_HW = one.nuclei.labels_HW > 0
        _, protein, inside, outside = (axis.images[0].get_array() for axis in row)
        assert not inside[~nuclei_HW].any() and not outside[nuclei_HW].any()
        assert np.array_equal(inside + outside, protein)
        for axis in row[:2]:
            (mask,) = collections(axis, PolyCollection)
            assert len(mask.get_paths()) == 2
        assert f"{TEN['nuclear_ratio'](one):.3g}" in title(row[2])
    assert title(axes[0]).startswith("first") and title(axes[4]).startswith("second")


@pytest.mark.parametrize("segmentation", ["watershed", "paper", "paper_code"])
def test_segments_have_their_contours_ellipses_and_nearest_nuclei(draw, segmentation):
    one = sample(segmentation)
    figure = draw(segments.segments, [one], ["first\nCytosol"], "toy")
    protein, green, blue = figure.axes
    assert segmentation in figure.get_suptitle() and "toy" in figure.get_suptitle()
    assert title(protein).startswith("first\nCytosol")
    for axis, found, kind in ((green, one.segments, "segments"), (blue, one.nuclei, "nuclei")):
        assert title(axis).startswith(f"{len(found.area_S)} {kind}") and len(found.area_S) == 2
        (outlines,) = collections(axis, PolyCollection)
        assert len(outlines.get_paths()) == 2
        drawn = [patch for patch in axis.patches if isinstance(patch, Ellipse)]
        for patch, (row, column, major, minor, angle) in zip(drawn, found.ellipse_S5, strict=True):
            assert patch.center == (column, row)
            assert (patch.width, patch.height, patch.angle) == (major, minor, angle)
    (lines,) = collections(blue, LineCollection)
    ends = sorted(tuple(path.vertices.ravel()) for path in lines.get_paths())
    expected = [(70, 60, 60, 60), (190, 150, 190, 60)]  # columns before rows
    assert np.array(ends) == pytest.approx(np.array(expected), abs=2)
    assert f"{TEN['eccentricity'](one):.3g}" in title(green)
    assert f"{TEN['nucleus_distance'](one):.3g}" in title(blue)


def test_ellipses_are_drawn_around_their_segments(draw):
    tilted = sample(green=channel(ellipse(120, 120, 60, 15, 0.6)))
    _, green, _ = draw(segments.segments, [tilted], ["tilted"], "toy").axes
    (patch,) = green.patches
    rows, columns = np.nonzero(tilted.segments.labels_HW)
    to_unit_circle = patch.get_patch_transform().inverted()
    radius = np.hypot(*to_unit_circle.transform(np.stack([columns, rows], axis=1)).T)
    assert (radius <= 1).mean() > 0.97


def test_empty_channels_are_drawn(draw):
    empty = sample(green=None, blue=None)
    assert "nan" in title(draw(segments.protein_in_nuclei, [empty], ["empty"], "toy").axes[2])
    _, green, blue = draw(segments.segments, [empty], ["empty"], "toy").axes
    assert title(green).startswith("0 segments") and title(blue).startswith("0 nuclei")


def test_contours_include_those_of_holes_and_separate_labels_that_touch():
    labels_HW = np.zeros((20, 20), np.int32)
    labels_HW[2:9, 2:9], labels_HW[2:9, 9:16] = 1, 2
    labels_HW[4:7, 4:7] = 0
    found = segments.contours(labels_HW)
    assert [outline.shape[1] for outline in found] == [2] * 3
    spans = sorted((*outline.min(axis=0), *outline.max(axis=0)) for outline in found)
    assert spans == [(2, 2, 8, 8), (3, 3, 7, 7), (9, 2, 15, 8)]
