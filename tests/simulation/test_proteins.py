import numpy as np
import pytest

from lib.labels import CLASSES
from lib.simulation.proteins import NEGATIVE, PATTERNS, draw_protein
from lib.simulation.staining import describe_antibody

STYLE = np.full((1, 4), 0.5)


def protein(field, labels=(0,), weights=(1.0,), positive_fraction=1.0, brightness_std=0.0):
    antibody = describe_antibody(labels, 0, 0)._replace(
        weights=np.array(weights),
        styles=np.repeat(STYLE, len(labels), axis=0),
        positive_fraction=positive_fraction,
        brightness_std=brightness_std,
    )
    return draw_protein(field, labels, antibody, (1, 2))


def test_patterns_are_in_the_order_of_the_classes():
    assert len(set(PATTERNS)) == len(CLASSES)
    for name, pattern in zip(CLASSES, PATTERNS, strict=True):
        for word in set(pattern.__name__.split("_")) - {"and"}:
            assert word[:6] in name.lower().replace("center", "centre"), name


@pytest.mark.parametrize("label", range(28))
def test_every_pattern_is_a_plausible_image(sheet, label):
    for style in (np.zeros(4), np.ones(4)):
        green_HW = PATTERNS[label](sheet, np.random.default_rng(0), style)
        assert green_HW.shape == (512, 512) and np.isfinite(green_HW).all()
        assert green_HW.min() > -0.3 and green_HW.mean() < 1


def test_a_protein_is_the_weighted_sum_of_its_patterns(sheet):
    both = protein(sheet, (0, 25), (1.0, 0.5))
    np.testing.assert_allclose(both, protein(sheet, (0,)) + 0.5 * protein(sheet, (25,)), atol=1e-6)
    assert both.shape == (512, 512) and both.dtype == np.float32 and both.max() > 0.5


def test_negative_cells_are_faint(sheet):
    bright_HW, faint_HW = protein(sheet), protein(sheet, positive_fraction=0.0)
    np.testing.assert_allclose(faint_HW, NEGATIVE * bright_HW, atol=1e-6)
    some_HW = protein(sheet, positive_fraction=0.5)
    interior_HW = (sheet.nucleus_HW > 0.9) & (bright_HW > 0.1)
    relative = some_HW[interior_HW] / bright_HW[interior_HW]
    assert np.unique(relative.round(2)).tolist() == pytest.approx([NEGATIVE, 1.0])


def test_cells_differ_in_brightness(sheet):
    relative_HW = protein(sheet, brightness_std=0.5) / np.maximum(protein(sheet), 1e-6)
    inside_HW = (sheet.nucleus_HW > 0.9) & (protein(sheet) > 0.1)
    values = {float(v) for v in np.round(relative_HW[inside_HW], 3)}
    assert len(values) > 5


@pytest.mark.parametrize("name", ["Mitotic spindle", "Cytokinetic bridge"])
def test_all_dividing_cells_show_their_pattern(field, name):
    label = CLASSES.index(name)
    assert np.array_equal(protein(field, (label,), positive_fraction=0.0), protein(field, (label,)))
