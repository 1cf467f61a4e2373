import cv2
import numpy as np
import pytest

from lib.simulation.organelles import scatter
from tests.simulation.conftest import assert_spots_at_the_centrosomes, draw, mean


@pytest.mark.parametrize(
    "name",
    ["Endoplasmic reticulum", "Golgi apparatus", "Peroxisomes", "Endosomes", "Lysosomes", "Lipid droplets",
     "Mitochondria", "Cytosol", "Cytoplasmic bodies"],
)  # fmt: skip
def test_cytoplasmic_proteins_are_outside_the_nucleus(field, name):
    green_HW = draw(field, name)
    brightest_HW = green_HW > np.quantile(green_HW, 0.98)
    assert (field.nucleus_distance_HW[brightest_HW] > -1).mean() > 0.9
    assert mean(green_HW, field.cell_HW > 0.9) > 5 * mean(green_HW, field.cell_number_HW == 0)


def test_aggresomes_are_beside_the_nucleus(field):
    assert_spots_at_the_centrosomes(field, draw(field, "Aggresome"))


def test_the_plasma_membrane_is_at_the_edges(field):
    green_HW = draw(field, "Plasma membrane", np.array([0.5, 0.0, 0.5, 0.5]))
    edge_HW = (field.cell_number_HW > 0) & (field.edge_distance_HW < 1.5)
    assert mean(green_HW, edge_HW) > 3 * mean(green_HW, field.edge_distance_HW > 8)


def test_cell_junctions_are_only_between_cells(sheet):
    green_HW = draw(sheet, "Cell junctions")
    near_background_HW = cv2.dilate(np.uint8(sheet.cell_number_HW == 0), np.ones((9, 9), np.uint8)) > 0
    edge_HW = (sheet.cell_number_HW > 0) & (sheet.edge_distance_HW < 1.5)
    assert mean(green_HW, edge_HW & ~near_background_HW) > 3 * mean(green_HW, edge_HW & near_background_HW)


def test_vesicles_differ_in_number_and_size(field):
    def spots(name: str) -> tuple[int, float]:
        count, _, stats, _ = cv2.connectedComponentsWithStats(np.uint8(draw(field, name) > 0.35))
        return count - 1, float(stats[1:, cv2.CC_STAT_AREA].mean())

    peroxisomes, lysosomes, bodies = map(spots, ("Peroxisomes", "Lysosomes", "Cytoplasmic bodies"))
    assert peroxisomes[0] > 1.5 * lysosomes[0] and peroxisomes[0] > 4 * bodies[0]
    assert lysosomes[1] > 1.5 * peroxisomes[1]


def test_scattered_points_are_in_the_cytoplasm_of_their_cells(field):
    depths = []
    for crowding in (0.0, 1.0):
        cell, points = scatter(field, np.random.default_rng(0), 40, crowding)
        assert len(points) == len(cell) > 100
        x, y = np.floor(points).astype(int).T
        visible = (x >= 0) & (x < 512) & (y >= 0) & (y < 512)
        depths.append(field.depth_HW[y[visible], x[visible]].mean())
        assert (field.cell_number_HW[y[visible], x[visible]] == cell[visible] + 1).mean() > 0.9
        assert (field.nucleus_HW[y[visible], x[visible]] > 0.9).mean() < 0.05
    assert depths[1] < 0.7 * depths[0]
