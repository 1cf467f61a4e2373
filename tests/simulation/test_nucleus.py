import numpy as np
import pytest

from tests.simulation.conftest import draw, mean


@pytest.mark.parametrize(
    "name", ["Nucleoplasm", "Nucleoli", "Nucleoli fibrillar center", "Nuclear speckles", "Nuclear bodies"]
)
def test_nuclear_proteins_are_in_the_nucleus(field, name):
    green_HW = draw(field, name)
    assert mean(green_HW, field.nucleus_HW > 0.9) > 10 * mean(green_HW, field.nucleus_HW < 0.01)


def test_the_nuclear_membrane_is_at_the_edge_of_the_nucleus(field):
    green_HW = draw(field, "Nuclear membrane")
    edge_HW, inside_HW = np.abs(field.nucleus_distance_HW) < 1.5, field.nucleus_distance_HW < -5
    assert mean(green_HW, edge_HW) > 2 * mean(green_HW, inside_HW)


def test_nucleoli_are_the_dark_regions_of_the_dna_stain(field):
    nucleoli_HW, rest_HW = field.nucleoli_HW > 0.9, (field.nucleus_HW > 0.9) & (field.nucleoli_HW < 0.01)
    assert mean(field.blue_HW, nucleoli_HW) < 0.7 * mean(field.blue_HW, rest_HW)
    for name in ("Nucleoli", "Nucleoli fibrillar center"):
        assert mean(draw(field, name), nucleoli_HW) > 3 * mean(draw(field, name), rest_HW)
    assert mean(draw(field, "Nucleoplasm"), nucleoli_HW) < 0.7 * mean(draw(field, "Nucleoplasm"), rest_HW)


def test_speckles_avoid_nucleoli_and_bodies_are_fewer(field):
    inside_HW = field.nucleus_distance_HW < -4
    speckles_HW, bodies_HW = draw(field, "Nuclear speckles"), draw(field, "Nuclear bodies")
    assert mean(speckles_HW, field.nucleoli_HW > 0.9) < 0.3 * mean(speckles_HW, inside_HW)
    assert (bodies_HW[inside_HW] > 0.4).mean() < 0.5 * (speckles_HW[inside_HW] > 0.4).mean()
