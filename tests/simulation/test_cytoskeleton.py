import numpy as np
import pytest

from tests.simulation.conftest import assert_spots_at_the_centrosomes, draw, mean


@pytest.mark.parametrize("name", ["Centrosome", "Microtubule organizing center"])
def test_central_spots_are_beside_the_nucleus(field, name):
    assert_spots_at_the_centrosomes(field, draw(field, name))


def test_focal_adhesions_are_near_the_edge(field):
    dashes_HW = draw(field, "Focal adhesion sites") > 0.5
    assert np.median(field.depth_HW[dashes_HW]) > 0.65


def test_microtubules_follow_the_red_stain(field):
    inside_HW = field.cell_number_HW > 0
    red, tubules, actin = (
        image_HW[inside_HW]
        for image_HW in (field.red_HW, draw(field, "Microtubules"), draw(field, "Actin filaments"))
    )
    assert np.corrcoef(red, tubules)[0, 1] > 0.8 > 0.3 > np.corrcoef(red, actin)[0, 1]


def test_microtubule_ends_are_further_out_than_the_microtubules(field):
    ends_HW = draw(field, "Microtubule ends") > 0.4
    tubules_HW = field.red_HW > np.quantile(field.red_HW, 0.95)
    assert field.depth_HW[ends_HW].mean() > field.depth_HW[tubules_HW].mean() + 0.1


def test_actin_has_a_cortex_and_intermediate_filaments_surround_the_nucleus(field):
    inside_HW, edge_HW = field.edge_distance_HW > 8, (field.cell_HW > 0.9) & (field.edge_distance_HW < 1)
    actin_HW, filaments_HW = draw(field, "Actin filaments"), draw(field, "Intermediate filaments")
    assert mean(actin_HW, edge_HW) > 1.5 * mean(actin_HW, inside_HW)
    near_HW, far_HW = (field.depth_HW > 0) & (field.depth_HW < 0.3), field.depth_HW > 0.8
    assert mean(filaments_HW, near_HW & inside_HW) > 2 * mean(filaments_HW, far_HW & (field.cell_HW > 0.9))


def test_dividing_cells_show_spindle_and_bridge(field):
    spindle_HW, bridge_HW = draw(field, "Mitotic spindle"), draw(field, "Cytokinetic bridge")
    assert len(field.mitotic) == 2 and len(field.between_sisters((0.5, 0.44))) == 2
    for cell, _, _ in field.mitotic:
        x, y = np.round(field.cells.centre_n2[cell]).astype(int)
        assert spindle_HW[y - 12 : y + 13, x - 12 : x + 13].max() > 0.4
    for (x, y), (u, v) in field.between_sisters((0.5, 0.44)):
        spot_HW = bridge_HW[int(min(y, v)) - 3 : int(max(y, v)) + 4, int(min(x, u)) - 3 : int(max(x, u)) + 4]
        assert spot_HW.max() > 0.5
    assert (bridge_HW > 0.5).mean() < 0.005
