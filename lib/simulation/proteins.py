"""The rules of all 28 labels in Kaggle's order, and what a whole protein looks like."""

import numpy as np

from lib.labels import CLASSES
from lib.simulation import cytoskeleton as fibres
from lib.simulation import nucleus as nuclear
from lib.simulation import organelles as organelles
from lib.simulation.field import Field

RULES = (
    nuclear.nucleoplasm,
    nuclear.nuclear_membrane,
    nuclear.nucleoli,
    nuclear.fibrillar_centre,
    nuclear.nuclear_speckles,
    nuclear.nuclear_bodies,
    organelles.endoplasmic_reticulum,
    organelles.golgi,
    organelles.peroxisomes,
    organelles.endosomes,
    organelles.lysosomes,
    fibres.intermediate_filaments,
    fibres.actin_filaments,
    fibres.focal_adhesions,
    fibres.microtubules,
    fibres.microtubule_ends,
    fibres.cytokinetic_bridge,
    fibres.mitotic_spindle,
    fibres.organizing_centre,
    fibres.centrosome,
    organelles.lipid_droplets,
    organelles.plasma_membrane,
    organelles.cell_junctions,
    organelles.mitochondria,
    organelles.aggresome,
    organelles.cytosol,
    organelles.cytoplasmic_bodies,
    organelles.rods_and_rings,
)

DIVIDING = (CLASSES.index("Cytokinetic bridge"), CLASSES.index("Mitotic spindle"))
FAINT = 0.12  # brightness of the cells in which a label does not show


def protein(
    field: Field, labels: tuple[int, ...], weights: np.ndarray, styles: np.ndarray, active: float,
    spread: float, seed: tuple[int, ...],
) -> np.ndarray:  # fmt: skip
    """Draw where one protein is in a field: the sum of the rules of its labels.

    Parameters
    ----------
    labels : tuple of int
        Class numbers 0-27.
    weights : ndarray of shape (labels,)
        How bright each label is.
    styles : ndarray of shape (labels, 4)
        Particulars of the pattern, 0-1.
    active : float
        Share of the cells in which a label shows, drawn for each label anew.
    spread : float
        Standard deviation of the logarithm of the cells' brightness.
    seed : tuple of int
        Of the random numbers.

    Returns
    -------
    ndarray of shape (H, W), float32
        About 1 where a structure is bright.
    """
    green_HW = np.zeros_like(field.cell_HW)
    for label, weight, style in zip(labels, weights, styles, strict=True):
        rng = np.random.default_rng([*seed, 100 + label])
        own = rng.lognormal(0, spread, field.cells.count)
        own[rng.uniform(size=len(own)) > active] *= FAINT
        if label in DIVIDING:  # the few cells that divide are those that show it
            own[:] = 1
        shown_HW = field.per_cell(np.append(own.mean(), own).astype(np.float32))
        green_HW += np.float32(weight) * shown_HW * RULES[label](field, rng, style).astype(np.float32)
    return green_HW
