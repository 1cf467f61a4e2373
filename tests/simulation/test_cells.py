import numpy as np
import pytest

from lib.simulation.cells import (
    ANAPHASE,
    CELL_LINES,
    DAUGHTER,
    INTERPHASE,
    MARGIN,
    MAXIMUM_CELLS,
    METAPHASE,
    OVERLAP,
    THETA,
    grow_cells,
    radius_at,
)


def grow(name="U-2 OS", seed=0, **counts):
    return grow_cells(CELL_LINES[name], 512, np.random.default_rng(seed), **counts)


def test_frequencies_of_the_cell_lines_sum_to_1():
    assert sum(line.frequency for line in CELL_LINES.values()) == pytest.approx(1)


def test_radii_are_interpolated_between_the_angles():
    table_nT = np.stack([np.arange(72.0), np.full(72, 3.0)])
    cell = np.array([0, 0, 0, 1])
    angle = np.radians(
        [0, 7.5, 357.5, 123]
    )  # a radius every 5 degrees; the last one is followed by the first
    assert radius_at(table_nT, cell, angle) == pytest.approx([0, 1.5, 35.5, 3])
    assert radius_at(table_nT, cell, angle - 2 * np.pi) == pytest.approx([0, 1.5, 35.5, 3])


def test_depth_is_relative_to_nucleus_and_edge():
    cells = grow()
    cell, angle = np.zeros(3, int), np.full(3, THETA[9])
    nucleus, edge = cells.nucleus_nT[0, 9], cells.outline_nT[0, 9]
    for inner, expected in (
        (False, [nucleus, (nucleus + edge) / 2, edge]),
        (True, [0, nucleus / 2, nucleus]),
    ):
        points = cells.at(cell, angle, np.array([0, 0.5, 1]), inner=inner)
        assert np.linalg.norm(points - cells.centre_n2[0], axis=1) == pytest.approx(expected)
    direction = points[2] - cells.centre_n2[0]
    assert np.arctan2(direction[1], direction[0]) == pytest.approx(THETA[9])


@pytest.mark.parametrize("name", CELL_LINES)
def test_cells_are_well_formed(name):
    for seed in range(3):
        cells = grow(name, seed, mitotic=1, daughter_pairs=1)
        assert 2 < cells.count <= MAXIMUM_CELLS + 1
        assert (cells.outline_nT >= 4).all() and (cells.nucleus_nT > 0).all()
        assert (cells.nucleus_nT < cells.outline_nT).all()
        assert len(cells.nucleoli) == cells.count
        for k, nucleoli_M3 in enumerate(cells.nucleoli):  # within the nucleus, at least their centres
            offset = nucleoli_M3[:, :2] - cells.centre_n2[k]
            edge = radius_at(
                cells.nucleus_nT, np.full(len(offset), k), np.arctan2(offset[:, 1], offset[:, 0])
            )
            assert (np.linalg.norm(offset, axis=1) < edge).all()


@pytest.mark.parametrize("name", ["U-2 OS", "MCF7", "BJ"])
def test_cells_keep_their_distance_and_overlap_by_4_percent_at_most(name):
    cells = grow(name, 3)
    assert (cells.centre_n2 > -MARGIN).all() and (cells.centre_n2 < 512 + MARGIN).all()
    distance_nn = np.linalg.norm(cells.centre_n2[None] - cells.centre_n2[:, None], axis=2)
    np.fill_diagonal(distance_nn, np.inf)
    assert distance_nn.min() > 0.95 * 2 * cells.nucleus_nT.mean()
    cell, nearest = np.arange(cells.count), distance_nn.argmin(axis=1)
    offset_n2 = cells.centre_n2[nearest] - cells.centre_n2
    angle = np.arctan2(offset_n2[:, 1], offset_n2[:, 0])
    towards_each_other = radius_at(cells.outline_nT, cell, angle)
    towards_each_other += radius_at(cells.outline_nT, nearest, angle + np.pi)
    relative = towards_each_other / distance_nn.min(axis=1)
    assert relative.max() < OVERLAP + 0.01 and np.median(relative) > 1  # most neighbours touch


def test_dividing_cells():
    cells = grow(seed=2, mitotic=3, daughter_pairs=2)
    assert np.isin(cells.phase_n, (METAPHASE, ANAPHASE)).sum() == 3
    daughters = np.flatnonzero(cells.phase_n == DAUGHTER)
    assert len(daughters) == 4
    assert (cells.sister_n[cells.sister_n[daughters]] == daughters).all()
    assert (cells.sister_n[cells.phase_n != DAUGHTER] == -1).all()
    for k in daughters:  # the axis points to the sister
        offset = cells.centre_n2[cells.sister_n[k]] - cells.centre_n2[k]
        assert np.cos(np.arctan2(offset[1], offset[0]) - cells.axis_n[k]) == pytest.approx(1)
    has_nucleoli = np.array([len(nucleoli) > 0 for nucleoli in cells.nucleoli])
    assert (has_nucleoli == np.isin(cells.phase_n, (INTERPHASE, DAUGHTER))).all()
    mitotic_nT = cells.outline_nT[np.isin(cells.phase_n, (METAPHASE, ANAPHASE))]
    assert (mitotic_nT.max(axis=1) < 2 * mitotic_nT.min(axis=1)).all()  # round


def test_centrosomes_are_just_outside_the_nucleus():
    cells = grow(seed=4)
    offset_n2 = cells.centrosome_n2 - cells.centre_n2
    angle = np.arctan2(offset_n2[:, 1], offset_n2[:, 0])
    gap = np.linalg.norm(offset_n2, axis=1) - radius_at(cells.nucleus_nT, np.arange(cells.count), angle)
    assert (gap >= 0.5 - 1e-9).all() and (gap <= 4.5 + 1e-9).all()


def test_fibroblasts_are_long_along_one_direction():
    def anisotropy(name):
        cells = grow(name, 1)
        corner_nT2 = cells.outline_nT[..., None] * np.stack([np.cos(THETA), np.sin(THETA)], axis=1)
        low, high = np.linalg.eigvalsh(np.cov(corner_nT2.reshape(-1, 2).T))
        return np.sqrt(high / low)

    assert anisotropy("BJ") > 1.25 * anisotropy("A-431")


def test_the_cells_depend_on_the_random_numbers_alone():
    one, same, other = grow(seed=5), grow(seed=5), grow(seed=6)
    assert np.array_equal(one.outline_nT, same.outline_nT)
    assert one.outline_nT.shape != other.outline_nT.shape or (one.outline_nT != other.outline_nT).any()
