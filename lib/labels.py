"""What the classes and channels are called, and how Kaggle's target strings are read.

Shape letters of the whole project: N samples, C = 28 classes, K = 4 channels, H W pixels,
F features, B batch. Class order is Kaggle's, 0 to 27; channel order is R G B Y.
"""

import numpy as np

CLASSES = (
    "Nucleoplasm",
    "Nuclear membrane",
    "Nucleoli",
    "Nucleoli fibrillar center",
    "Nuclear speckles",
    "Nuclear bodies",
    "Endoplasmic reticulum",
    "Golgi apparatus",
    "Peroxisomes",
    "Endosomes",
    "Lysosomes",
    "Intermediate filaments",
    "Actin filaments",
    "Focal adhesion sites",
    "Microtubules",
    "Microtubule ends",
    "Cytokinetic bridge",
    "Mitotic spindle",
    "Microtubule organizing center",
    "Centrosome",
    "Lipid droplets",
    "Plasma membrane",
    "Cell junctions",
    "Mitochondria",
    "Aggresome",
    "Cytosol",
    "Cytoplasmic bodies",
    "Rods & rings",
)
# the three groups that the classes fall into (Hoogenboom 2019, table 1), by class number
GROUPS = {
    "Nucleus": (0, 1, 2, 3, 4, 5),
    "Cytoplasm": (11, 12, 13, 14, 15, 16, 17, 18, 19, 23, 24, 25, 26, 27),
    "Secretory": (6, 7, 8, 9, 10, 20, 21, 22),
}
CHANNELS = ("red", "green", "blue", "yellow")
CHANNEL_MEANINGS = ("microtubules", "protein", "nucleus", "endoplasmic reticulum")

# the biological features and what they mean, for figures, where one without a meaning has its name:
# `lib.features.biological` and `more_features`
FEATURES = {
    "nuclear_ratio": "protein in nuclei / outside",
    "ssim_microtubules": "similarity to microtubules",
    "ssim_er": "similarity to the ER",
    "ssim_nucleus": "similarity to the nucleus",
    "protein_over_er": "protein / ER, total stain",
    "protein_area": "area with protein, px²",
    "compactness": "compactness of segments, disc = 1",
    "eccentricity": "minor / major axis, round = 1",
    "segment_over_nucleus_area": "segment / nucleus, mean area",
    "nucleus_distance": "segment to nucleus, px",
    "granularity_2": "protein in grains to 2 px",
    "granularity_4": "protein in grains of 2 to 4 px",
    "granularity_8": "protein in grains of 4 to 8 px",
    "granularity_16": "protein in grains of 8 to 16 px",
    "nucleolar_share": "nuclear protein in nucleoli, share",
    "nuclear_rim_share": "protein on the nuclear rim, share",
    "correlation_microtubules": "correlation with microtubules",
    "correlation_er": "correlation with the ER",
    "correlation_nucleus": "correlation with the nucleus",
    "segments_per_nucleus": "segments per nucleus",
}


def class_number(text: str) -> int | None:
    """Return the number of the class that a text names, by number or name; None if there is none."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text) if int(text) < len(CLASSES) else None
    return CLASSES.index(text) if text in CLASSES else None


def parse_target(text: str) -> tuple[int, ...]:
    """Read one target string such as ``"16 0"`` into sorted class numbers.

    Returns
    -------
    tuple of int
        Class numbers 0-27, ascending, each once.

    Raises
    ------
    ValueError
        If the string is empty, or holds something that is not a class number or one twice;
        the message is a phrase that fits after a file and row.

    Examples
    --------
    >>> parse_target("16 0")
    (0, 16)
    """
    words = text.split()
    if not words:
        raise ValueError("has no label; expected class numbers 0-27 separated by blanks")
    for word in words:
        if not word.isascii() or not word.isdigit():
            raise ValueError(f"label {word!r} is no class number; expected 0-27")
        if int(word) >= len(CLASSES):
            raise ValueError(f"label {word} is out of range; expected 0-27")
    labels = sorted(map(int, words))
    if len(set(labels)) < len(labels):
        raise ValueError(f"labels {text!r} name a class twice")
    return tuple(labels)


def format_target(decision_C: np.ndarray) -> str:
    """Write one row of decisions as a target string.

    Parameters
    ----------
    decision_C : ndarray of shape (C,), bool

    Examples
    --------
    >>> decision = np.zeros(28, bool); decision[[16, 0]] = True
    >>> format_target(decision)
    '0 16'
    """
    return " ".join(str(label) for label in np.flatnonzero(decision_C))


def target_matrix(targets: list[tuple[int, ...]]) -> np.ndarray:
    """Turn class numbers into a table of yes and no.

    Returns
    -------
    ndarray of shape (N, C), bool
    """
    truth_NC = np.zeros((len(targets), len(CLASSES)), dtype=bool)
    for row, labels in enumerate(targets):
        truth_NC[row, list(labels)] = True
    return truth_NC
