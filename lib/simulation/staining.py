"""How an antibody stains: what all of its fields share, by which an antibody can be recognized."""

from typing import NamedTuple

import numpy as np

from lib.labels import CLASSES
from lib.simulation.canvas import MAX_SHIFT
from lib.simulation.cells import CELL_LINES
from lib.simulation.field import Field

SHEET_FORMING_LINES = ("A-431", "MCF7", "HEK 293")  # the only ones with cell junctions

SPECKLED = 0.4  # probability that an antibody precipitates


class Antibody(NamedTuple):
    """Properties that all fields of one antibody share."""

    lines: tuple[str, str, str]  # keys of `CELL_LINES`
    weights: np.ndarray  # (labels,): brightness of each label's pattern
    styles: np.ndarray  # (labels, 4): parameters of each label's pattern, 0-1
    positive_fraction: float  # of the cells that show the pattern
    brightness_std: float  # of the logarithm of brightness among the cells
    brightness: float  # of the green channel, in standard deviations from the median
    spot_size: float  # radius of the pattern's spots relative to other antibodies
    saturation: float  # of the antigen: 0 is proportional to it; above, dim structures come closer to bright
    grain: float  # size of the texture's grains in units
    texture: float  # standard deviation of the texture, relative to the stain
    background: float  # unspecific staining relative to the pattern's brightness
    specks: float  # of precipitate, mean number in 512 x 512 units
    affinity: np.ndarray  # (5,): shares of the unspecific staining, see `draw_unspecific`; they sum to 1


def describe_antibody(labels: tuple[int, ...], seed: int, antibody: int) -> Antibody:
    """Draw the properties of one antibody, which are the same in all of its fields."""
    rng = np.random.default_rng([seed, 1, antibody])
    names = list(CELL_LINES)
    frequencies = np.array([line.frequency for line in CELL_LINES.values()])
    if CLASSES.index("Cell junctions") in labels:
        frequencies = frequencies * [name in SHEET_FORMING_LINES for name in names]
    lines = rng.choice(names, 3, p=frequencies / frequencies.sum())
    weights = rng.permutation(np.append(1.0, rng.uniform(0.35, 1.0, len(labels) - 1)))
    return Antibody(
        lines=tuple(str(name) for name in lines),
        weights=weights,
        styles=rng.beta(0.6, 0.6, (len(labels), 4)),  # antibodies differ: extremes more often than the middle
        positive_fraction=1.0 if rng.uniform() < 0.6 else rng.uniform(0.25, 0.9),
        brightness_std=rng.uniform(0.15, 0.7),
        brightness=rng.normal(),
        spot_size=float(np.clip(rng.lognormal(0, 0.22), 0.65, 1.6)),
        saturation=rng.uniform(0.0, 1.5),
        grain=rng.uniform(1.5, 9.0),
        texture=rng.uniform(0.0, 0.55),
        background=rng.lognormal(-2.4, 0.9),
        specks=float(rng.lognormal(2.5, 1.0)) if rng.uniform() < SPECKLED else 0.0,
        affinity=rng.dirichlet((1.2, 0.5, 0.3, 0.5, 0.3)),
    )


def saturate(stain_HW: np.ndarray, saturation: float) -> np.ndarray:
    """Return the antibody that binds to an antigen (Langmuir's isotherm); 0 stays 0 and 1 stays 1."""
    return np.float32(1 + saturation) * stain_HW / (1 + np.float32(saturation) * np.maximum(stain_HW, 0))


def draw_texture(field: Field, antibody: Antibody, rng: np.random.Generator) -> np.ndarray:
    """Draw the grain of an antibody's stain: (H, W) float32, at least 0, mean about 1."""
    noise_HW = field.canvas.noise(rng, antibody.grain)
    return np.maximum(1 + np.float32(antibody.texture) * noise_HW, 0)


def draw_unspecific(field: Field, antibody: Antibody, rng: np.random.Generator) -> np.ndarray:
    """Draw the unspecific staining of an antibody, (H, W) float32.

    A mixture, in the antibody's proportions, of the whole cell, the nuclei, the nucleoli, the endoplasmic
    reticulum and the microtubules; and specks of precipitate, inside and outside the cells.
    """
    parts = (field.thickness_HW, field.nucleus_HW, field.nucleoli_HW, field.yellow_HW, field.red_HW)
    mixture_HW = sum(
        np.float32(share) * part_HW for share, part_HW in zip(antibody.affinity, parts, strict=True)
    )
    extent = field.canvas.extent + 2 * MAX_SHIFT
    count = rng.poisson(antibody.specks * (extent / 512) ** 2)
    points = rng.uniform(-MAX_SHIFT, field.canvas.extent + MAX_SHIFT, (count, 2))
    specks_HW = field.canvas.dots(points, rng.uniform(0.7, 1.6, count), rng.uniform(0.2, 1.0, count))
    return np.float32(antibody.background) * mixture_HW + specks_HW
