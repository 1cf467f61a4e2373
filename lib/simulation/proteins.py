"""The patterns of all 28 classes in Kaggle's order, and their combination into the stain of one protein."""

import numpy as np

from lib.labels import CLASSES
from lib.simulation import cytoskeleton, nucleus, organelles
from lib.simulation.field import Field
from lib.simulation.staining import Antibody

PATTERNS = (
    nucleus.nucleoplasm,
    nucleus.nuclear_membrane,
    nucleus.nucleoli,
    nucleus.fibrillar_centre,
    nucleus.nuclear_speckles,
    nucleus.nuclear_bodies,
    organelles.endoplasmic_reticulum,
    organelles.golgi,
    organelles.peroxisomes,
    organelles.endosomes,
    organelles.lysosomes,
    cytoskeleton.intermediate_filaments,
    cytoskeleton.actin_filaments,
    cytoskeleton.focal_adhesions,
    cytoskeleton.microtubules,
    cytoskeleton.microtubule_ends,
    cytoskeleton.cytokinetic_bridge,
    cytoskeleton.mitotic_spindle,
    cytoskeleton.organizing_centre,
    cytoskeleton.centrosome,
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
NEGATIVE = 0.12  # relative brightness of the cells that do not show a pattern


def draw_protein(
    field: Field, labels: tuple[int, ...], antibody: Antibody, seed: tuple[int, ...]
) -> np.ndarray:  # fmt: skip
    """Draw the stain of one protein: the weighted sum of the patterns of its labels.

    Parameters
    ----------
    field : Field
    labels : tuple of int
        Class numbers 0-27.
    antibody : Antibody
        Its weights and styles are those of the labels. The cells that show a pattern are drawn independently
        for each label.
    seed : tuple of int
        Of the random numbers.

    Returns
    -------
    ndarray of shape (H, W), float32
        About 1 where a structure is bright.
    """
    green_HW = np.zeros_like(field.cell_HW)
    for label, weight, style in zip(labels, antibody.weights, antibody.styles, strict=True):
        rng = np.random.default_rng([*seed, 100 + label])
        brightness = rng.lognormal(0, antibody.brightness_std, field.cells.count)
        brightness[rng.uniform(size=len(brightness)) > antibody.positive_fraction] *= NEGATIVE
        if label in DIVIDING:  # shown by the few cells that divide, and by all of them
            brightness[:] = 1
        brightness_HW = field.per_cell(np.append(brightness.mean(), brightness).astype(np.float32))
        pattern_HW = PATTERNS[label](field, rng, style).astype(np.float32)
        green_HW += np.float32(weight) * brightness_HW * pattern_HW
    return green_HW
