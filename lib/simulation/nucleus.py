"""Patterns of proteins in the nucleus: labels 0 to 5.

Source: the Cell Atlas dictionary at proteinatlas.org (nucleoplasm, nuclear membrane, nucleoli, nuclear
speckles, nuclear bodies) and Thul et al. 2017, Science 356 eaal3321.

Every pattern is a function of the field, the random numbers of this image, and a style: four numbers in 0-1
that belong to the antibody. It returns an (H, W) image of floats, about 1 where the structure is bright.
"""

import numpy as np

from lib.simulation.cells import DAUGHTER, INTERPHASE
from lib.simulation.field import Field


def nucleoplasm(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Fill the nuclei evenly or with a fine grain; nucleoli are more or less dark."""
    grain_HW = field.canvas.noise(rng, 1.6 + 2.5 * style[0])
    fill_HW = 0.72 + (0.04 + 0.2 * style[1]) * grain_HW
    return field.nucleus_HW * np.maximum(fill_HW, 0) * (1 - (0.2 + 0.7 * style[2]) * field.nucleoli_HW)


def nuclear_membrane(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw the edge of the nuclei with folds, and a weaker fill: the membrane above and below the nucleus."""
    width = 0.9 + 0.7 * style[0]
    edge_HW = np.exp(-np.square((field.nucleus_distance_HW + 0.6) / width))
    folds_HW = np.exp(-np.square(field.canvas.noise(rng, 14.0) / 0.07)) * field.nucleus_HW
    uneven_HW = 0.85 + 0.2 * field.canvas.noise(rng, 3.0)
    membrane_HW = edge_HW * np.float32(0.95) + (0.1 + 0.25 * style[1]) * field.nucleus_HW
    return (membrane_HW + 0.35 * style[2] * folds_HW) * uneven_HW * (field.cell_number_HW > 0)


def nucleoli(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Fill whole nucleoli, for some styles with a brighter rim, over a weak nucleoplasm."""
    grain_HW = 0.85 + 0.18 * field.canvas.noise(rng, 2.0)
    body_HW = field.nucleoli_HW
    if style[0] > 0.75:  # rim of the nucleolus: granular component only
        body_HW = np.maximum(body_HW - 0.6 * field.canvas.blur(body_HW, 2.0), 0) * 2
    return body_HW * grain_HW + (0.03 + 0.17 * style[1]) * field.nucleus_HW


def fibrillar_centre(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw several small spots in every nucleolus."""
    nucleoli_M3 = np.concatenate(field.cells.nucleoli)
    count = rng.poisson(2.0 + 4 * style[0], len(nucleoli_M3)) + 1
    nucleolus = np.repeat(nucleoli_M3, count, axis=0)
    points = nucleolus[:, :2] + rng.normal(0, 0.42, (len(nucleolus), 2)) * nucleolus[:, 2:]
    radii = rng.uniform(0.8, 1.3, len(nucleolus)) * (0.9 + 0.5 * style[1])
    dots_HW = field.canvas.dots(points, radii, rng.uniform(0.5, 1.1, len(points)))
    return dots_HW + (0.02 + 0.12 * style[2]) * field.nucleus_HW + 0.1 * style[3] * field.nucleoli_HW


def nuclear_speckles(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw 20 to 50 irregular patches outside the nucleoli, over a nucleoplasm."""
    noise_HW = field.canvas.noise(rng, 3.4 + 1.6 * style[0])
    patches_HW = np.clip((noise_HW - (0.45 + 0.35 * style[1])) * 2.0, 0, 1.3)
    interior_HW = np.clip(-field.nucleus_distance_HW / 3, 0, 1)
    inner_HW = field.nucleus_HW * (1 - field.nucleoli_HW) * interior_HW
    return inner_HW * (patches_HW + 0.12 + 0.15 * style[2])


def nuclear_bodies(field: Field, rng: np.random.Generator, style: np.ndarray) -> np.ndarray:
    """Draw a few round, distinct spots in every nucleus, often over a nucleoplasm."""
    has_nucleus = np.isin(field.cells.phase_n, (INTERPHASE, DAUGHTER))
    count = rng.poisson(1.2 + 9 * style[0] ** 2, field.cells.count) * has_nucleus
    cell = np.repeat(np.arange(field.cells.count), count)
    depth = 0.85 * np.sqrt(rng.uniform(size=len(cell)))
    points = field.cells.at(cell, rng.uniform(0, 2 * np.pi, len(cell)), depth, inner=True)
    radii = (0.9 + 0.9 * style[1]) * rng.uniform(0.75, 1.3, len(cell))
    dots_HW = field.canvas.dots(points, radii, rng.uniform(0.6, 1.1, len(cell)))
    return dots_HW + (0.04 + 0.2 * style[2]) * field.nucleus_HW * (1 - 0.5 * field.nucleoli_HW)
