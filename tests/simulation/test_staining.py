import cv2
import numpy as np
import pytest

from lib.labels import CLASSES
from lib.simulation.cells import CELL_LINES
from lib.simulation.field import Field
from lib.simulation.staining import (
    SHEET_FORMING_LINES,
    Antibody,
    describe_antibody,
    draw_texture,
    draw_unspecific,
    saturate,
)
from tests.simulation.conftest import mean


def unspecific(field: Field, antibody: Antibody) -> np.ndarray:
    return draw_unspecific(field, antibody, np.random.default_rng(0))


def test_an_antibody_is_the_same_in_all_of_its_fields():
    one, same, other = (describe_antibody((0, 5), 4, number) for number in (11, 11, 12))
    for mine, theirs, others in zip(one, same, other, strict=True):
        assert np.array_equal(mine, theirs)
        assert np.shape(mine) == np.shape(others)
    for name in ("styles", "brightness", "spot_size", "saturation", "grain", "texture", "affinity"):
        assert not np.array_equal(getattr(one, name), getattr(other, name))
    assert set(one.lines) <= set(CELL_LINES)
    assert one.weights.shape == (2,) and one.styles.shape == (2, 4) and one.weights.max() == 1
    assert one.affinity.sum() == pytest.approx(1) and one.spot_size > 0


def test_cell_junctions_are_shown_by_cells_that_grow_in_sheets():
    label = CLASSES.index("Cell junctions")
    lines = {line for number in range(30) for line in describe_antibody((label,), 0, number).lines}
    assert lines == set(SHEET_FORMING_LINES)


def test_saturation_brightens_what_is_dim():
    stain = np.float32([-0.1, 0.0, 0.2, 1.0, 2.0])
    assert saturate(stain, 0.0) == pytest.approx(stain)
    saturated = saturate(stain, 1.0)
    assert saturated.dtype == np.float32 and (np.diff(saturated) > 0).all()
    assert saturated[1] == 0 and saturated[3] == pytest.approx(1)
    assert saturated[2] > 1.5 * stain[2] and saturated[4] < stain[4]


def test_the_texture_is_as_coarse_and_as_strong_as_the_antibodys(field):
    antibody = describe_antibody((0,), 0, 0)

    def texture(grain: float, strength: float) -> np.ndarray:
        chosen = antibody._replace(grain=grain, texture=strength)
        return draw_texture(field, chosen, np.random.default_rng(0))

    assert (texture(4.0, 0.0) == 1).all()
    weak_HW, strong_HW, coarse_HW = texture(2.0, 0.1), texture(2.0, 0.3), texture(8.0, 0.3)
    assert weak_HW.mean() == pytest.approx(1, abs=0.02)
    assert strong_HW.std() == pytest.approx(3 * weak_HW.std(), rel=0.05) and strong_HW.min() >= 0
    roughness = [np.abs(np.diff(image_HW)).mean() for image_HW in (strong_HW, coarse_HW)]
    assert roughness[0] > 2 * roughness[1]


def test_unspecific_staining_is_where_the_antibody_binds(field):
    antibody = describe_antibody((0,), 0, 0)._replace(background=0.2, specks=0.0)
    nucleus_HW, outside_HW = field.nucleus_HW > 0.9, field.cell_number_HW == 0
    cytoplasm_HW = (field.cell_HW > 0.9) & (field.nucleus_HW < 0.1)
    whole_HW, nuclear_HW = (unspecific(field, antibody._replace(affinity=np.eye(5)[part])) for part in (0, 1))
    assert whole_HW.dtype == np.float32
    assert mean(whole_HW, cytoplasm_HW) > 0.05 and mean(whole_HW, outside_HW) < 0.01
    assert mean(nuclear_HW, nucleus_HW) > 10 * mean(nuclear_HW, cytoplasm_HW)
    mixed_HW = unspecific(field, antibody._replace(affinity=np.array([0.5, 0.5, 0, 0, 0])))
    np.testing.assert_allclose(mixed_HW, 0.5 * whole_HW + 0.5 * nuclear_HW, atol=1e-6)
    assert (unspecific(field, antibody._replace(background=0.0)) == 0).all()


def test_specks_are_anywhere_and_as_many_as_the_antibodys(field):
    antibody = describe_antibody((0,), 0, 0)._replace(background=0.0)
    counts = []
    for specks in (20.0, 80.0):
        specks_HW = unspecific(field, antibody._replace(specks=specks))
        counts.append(cv2.connectedComponents(np.uint8(specks_HW > 0.1))[0] - 1)
    assert counts[0] == pytest.approx(20, rel=0.5) and counts[1] > 2.5 * counts[0]
    assert (specks_HW[field.cell_number_HW == 0] > 0.1).any()
