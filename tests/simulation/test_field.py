import cv2
import numpy as np
import pytest

from lib.simulation.cells import ANAPHASE, DAUGHTER, METAPHASE
from lib.simulation.field import make_field
from tests.simulation.conftest import mean


def test_the_size_changes_only_the_sampling():
    large, small = (make_field("HeLa", size, 1.0, (5, 5)) for size in (512, 128))
    for name in ("cell_HW", "nucleus_HW"):
        reduced_HW = cv2.resize(getattr(large, name), (128, 128), interpolation=cv2.INTER_AREA)
        assert np.abs(reduced_HW - getattr(small, name)).mean() < 0.03


def test_a_shifted_view_shows_the_same_cells():
    still, shifted = (make_field("HeLa", 256, 2.0, (5, 5), origin=origin) for origin in ((0, 0), (8, -4)))
    for name in ("cell_number_HW", "nucleus_HW"):
        same_HW = getattr(still, name)[:-4, 8:] == getattr(shifted, name)[4:, :-8]
        assert same_HW.mean() > 0.999  # where the border of the image cuts a cell, OpenCV rounds differently


def test_zoom_magnifies_the_cells():
    near, far = (make_field("HeLa", 128, zoom, (5, 5)) for zoom in (4.0, 1.0))
    assert near.canvas.extent == 128 and near.canvas.scale == 1
    assert near.cells.count < far.cells.count


def test_the_density_is_a_factor_on_the_number_of_cells():
    full, half = (
        [make_field("U-2 OS", 32, 1.0, (5, seed), density=density).cells.count for seed in range(20)]
        for density in (1.0, 0.5)
    )
    assert sum(half) == pytest.approx(0.5 * sum(full), rel=0.1)


def test_the_order_of_drawing_does_not_matter():
    one, other = (make_field("HeLa", 128, 1.0, (5, 5), mitotic=1) for _ in range(2))
    names = ("red_HW", "blue_HW", "yellow_HW")
    first = {name: getattr(one, name) for name in names}
    assert all(np.array_equal(first[name], getattr(other, name)) for name in reversed(names))


def test_masks_and_distances_agree(field):
    inside_HW = field.cell_number_HW > 0
    assert field.cell_number_HW.max() <= field.cells.count
    assert ((field.cell_HW > 0.99) == inside_HW).mean() > 0.98
    assert (field.edge_distance_HW[~inside_HW] == 0).all()
    nucleus_HW = field.nucleus_HW > 0.5
    assert (field.nucleus_distance_HW[nucleus_HW] < 0).all()
    assert (field.nucleus_distance_HW[~nucleus_HW] > 0).all()
    assert (field.depth_HW[nucleus_HW] == 0).all() and field.depth_HW.max() <= 1
    assert field.thickness_HW.min() >= 0 and field.thickness_HW.max() <= 1
    assert (field.nucleoli_HW <= field.nucleus_HW + 1e-6).all()


def test_stains_are_where_they_belong(field):
    nucleus_HW, outside_HW = field.nucleus_HW > 0.9, field.cell_number_HW == 0
    cytoplasm_HW = (field.cell_HW > 0.9) & (field.nucleus_HW < 0.1)
    assert mean(field.blue_HW, nucleus_HW) > 10 * mean(field.blue_HW, cytoplasm_HW)
    assert mean(field.red_HW, cytoplasm_HW) > 2 * mean(field.red_HW, nucleus_HW)
    near_HW, far_HW = cytoplasm_HW & (field.depth_HW < 0.3), cytoplasm_HW & (field.depth_HW > 0.7)
    assert mean(field.yellow_HW, near_HW) > 1.5 * mean(field.yellow_HW, far_HW)
    assert mean(field.yellow_HW, outside_HW) < 0.01


def test_mitotic_cells_have_chromosomes_and_spindles_but_no_nucleus(field):
    assert len(field.mitotic) == 2
    for k, _, _ in field.mitotic:
        assert field.cells.phase_n[k] in (METAPHASE, ANAPHASE)
        x, y = np.round(field.cells.centre_n2[k]).astype(int)
        window = np.s_[y - 12 : y + 13, x - 12 : x + 13]
        assert field.nucleus_HW[window].max() == 0
        assert field.chromosomes_HW[window].max() == 1 and field.spindles_HW[window].max() > 0.3
        assert field.blue_HW[window].max() > 1
    assert (
        field.microtubules[1].size
        and not np.isin(field.microtubules[1], [k for k, *_ in field.mitotic]).any()
    )


def test_paths_between_sisters(field):
    paths = field.between_sisters((0.0, 1.0))
    assert paths.shape == (2, 2, 2)
    daughters = np.flatnonzero(field.cells.phase_n == DAUGHTER)
    assert sorted(paths.reshape(-1, 2).tolist()) == sorted(field.cells.centre_n2[daughters].tolist())
    middle = field.between_sisters((0.5, 0.5))
    assert middle[:, 0] == pytest.approx(paths.mean(axis=1))


def test_values_per_cell(field):
    values = np.append(-1, np.arange(field.cells.count)).astype(np.float32)
    image_HW = field.per_cell(values)
    assert (image_HW[field.cell_number_HW == 0] == -1).all()
    assert np.array_equal(image_HW, field.cell_number_HW - np.float32(1))
