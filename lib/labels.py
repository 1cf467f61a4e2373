"""Names of the classes, channels and features; Kaggle's target strings.

Shape letters of the whole project: N samples, C = 28 classes, K = 4 channels, H W pixels,
F features, B batch. Class order is Kaggle's, 0 to 27; channel order is R G B Y.
"""

import numpy as np

from lib.errors import quote

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
# class numbers of the three location groups (Hoogenboom 2019, table 1)
LOCATION_GROUPS = {
    "Nucleus": (0, 1, 2, 3, 4, 5),
    "Cytoplasm": (11, 12, 13, 14, 15, 16, 17, 18, 19, 23, 24, 25, 26, 27),
    "Secretory": (6, 7, 8, 9, 10, 20, 21, 22),
}
CHANNELS = ("red", "green", "blue", "yellow")
CHANNEL_MEANINGS = ("microtubules", "protein", "nucleus", "endoplasmic reticulum")

# axis labels of the biological features (`lib.features.biological` and `additional`) in figures; a feature
# without an entry is shown by its name
FEATURES = {
    "nuclear_ratio": "protein inside / outside nuclei",
    "ssim_microtubules": "SSIM with microtubules",
    "ssim_er": "SSIM with the ER",
    "ssim_nucleus": "SSIM with the nucleus",
    "protein_over_er": "protein / ER, total intensity",
    "protein_area": "area with protein, px²",
    "compactness": "segment compactness (disc = 1)",
    "eccentricity": "segment axis ratio (round = 1)",
    "segment_over_nucleus_area": "segment area / nucleus area",
    "nucleus_distance": "distance to nucleus, px",
    "granularity_2": "granularity, radius up to 2 px",
    "granularity_4": "granularity, radius 2 to 4 px",
    "granularity_8": "granularity, radius 4 to 8 px",
    "granularity_16": "granularity, radius 8 to 16 px",
    "nucleolar_share": "nucleolar / nuclear protein",
    "nuclear_rim_share": "nuclear rim / total protein",
    "correlation_microtubules": "correlation with microtubules",
    "correlation_er": "correlation with the ER",
    "correlation_nucleus": "correlation with the nucleus",
    "segments_per_nucleus": "segments per nucleus",
}


def class_number(text: str) -> int | None:
    """Return the number of the class with this number or name; None if there is none."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        short = len(text.lstrip("0")) <= 2  # int() rejects thousands of digits
        return int(text) if short and int(text) < len(CLASSES) else None
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
        If the string is empty, contains something other than a class number, or repeats one; the message is
        a phrase that fits after a file and row.

    Examples
    --------
    >>> parse_target("16 0")
    (0, 16)
    """
    words = text.split()
    if not words:
        raise ValueError("has no label; expected class numbers 0-27 separated by spaces")
    for word in words:
        if not word.isascii() or not word.isdigit():
            raise ValueError(f"label {quote(word)} is not a class number; expected 0-27, separated by spaces")
        if len(word.lstrip("0")) > 2 or int(word) >= len(CLASSES):  # int() rejects thousands of digits
            raise ValueError(f"label {quote(word)} is out of range; expected 0-27")
    labels = sorted(map(int, words))
    if len(set(labels)) < len(labels):
        raise ValueError(f"labels {quote(text)} repeat a class; expected each once")
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
    """Return the binary label matrix of class numbers.

    Returns
    -------
    ndarray of shape (N, C), bool
    """
    truth_NC = np.zeros((len(targets), len(CLASSES)), dtype=bool)
    for row, labels in enumerate(targets):
        truth_NC[row, list(labels)] = True
    return truth_NC
