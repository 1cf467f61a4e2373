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
CHANNELS = ("red", "green", "blue", "yellow")
CHANNEL_MEANINGS = ("microtubules", "protein", "nucleus", "endoplasmic reticulum")


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
