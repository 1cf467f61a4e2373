"""Two fields of cells, and how the tests of the patterns draw and measure them."""

import numpy as np
import pytest

from lib.labels import CLASSES
from lib.simulation.field import Field, make_field
from lib.simulation.proteins import PATTERNS

MEDIUM_STYLE = np.full(4, 0.5)


@pytest.fixture(scope="package")
def field() -> Field:
    """Scattered cells, two of them mitotic, and two pairs of daughters; 512 px, one pixel per unit."""
    return make_field("U-2 OS", 512, 1.0, (7, 7), mitotic=2, daughter_pairs=2)


@pytest.fixture(scope="package")
def sheet() -> Field:
    """Cells that touch each other; 512 px, one pixel per unit."""
    return make_field("A-431", 512, 1.0, (7, 9))


def draw(field: Field, name: str, style: np.ndarray = MEDIUM_STYLE) -> np.ndarray:
    """Draw the pattern of a class."""
    return PATTERNS[CLASSES.index(name)](field, np.random.default_rng(1), style)


def mean(image_HW: np.ndarray, where_HW: np.ndarray) -> float:
    """Mean of an image over a mask."""
    return float(image_HW[where_HW].mean())


def assert_spots_at_the_centrosomes(field: Field, green_HW: np.ndarray) -> None:
    """Check for bright spots beside the nuclei, and little elsewhere."""
    size = green_HW.shape[0]
    positions = np.round(field.cells.centrosome_n2 - 0.5).astype(int)
    positions = positions[((positions > 8) & (positions < size - 9)).all(axis=1)]
    assert len(positions) > 3
    spots = [green_HW[y - 7 : y + 8, x - 7 : x + 8].max() for x, y in positions]
    assert np.median(spots) > 3 * np.median(green_HW[field.cell_number_HW > 0])
    assert (green_HW > 0.4).mean() < 0.03
