"""What stage 1 says of groups and stage 2 of labels within them, put together.

Shape letters: G groups; C all 28 classes, each in one group.
"""

import numpy as np

from lib.location_groups import Grouping


def hard(decision_NG: np.ndarray, within_NC: np.ndarray, groups: Grouping) -> np.ndarray:
    """Join the answers of the groups that stage 1 says yes to: Hoogenboom 2019, section 2.1.

    Parameters
    ----------
    decision_NG : ndarray of shape (N, G), bool
    within_NC : ndarray of shape (N, C), float, in [0, 1]
        Each class's probability, said by its group's stage 2 network.
    groups : dict
        Class numbers by group, in the order of the G columns.

    Returns
    -------
    ndarray of shape (N, C), float32
        As given where the group has a yes, else 0: a threshold above 0 gives the union of the answers.
    """
    return np.where(spread(decision_NG, groups), within_NC, 0).astype(np.float32)


def soft(probabilities_NG: np.ndarray, within_NC: np.ndarray, groups: Grouping) -> np.ndarray:
    """Weight each label's probability within its group by the group's: the rule of the product.

    Shapes as for `hard`; what stage 1 is unsure of still counts, the less the less sure.
    """
    return (spread(probabilities_NG, groups) * within_NC).astype(np.float32)


def spread(values_NG: np.ndarray, groups: Grouping) -> np.ndarray:
    """Return what is said of each class's group, shape (N, C)."""
    classes = sum(map(len, groups.values()))
    values_NC = np.zeros((len(values_NG), classes), values_NG.dtype)
    for column, labels in enumerate(groups.values()):
        values_NC[:, list(labels)] = values_NG[:, [column]]
    return values_NC
