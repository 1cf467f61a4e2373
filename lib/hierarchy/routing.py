"""Routing: combines stage 1's predictions of groups with stage 2's predictions within them.

Shape letters: G groups; C all 28 classes, each in one group.
"""

import numpy as np

from lib.evaluation.calibration import NOWHERE
from lib.location_groups import LocationGroups


def hard(
    decision_NG: np.ndarray, within_NC: np.ndarray, groups: LocationGroups, probabilities_NG: np.ndarray
) -> np.ndarray:
    """Keep the predictions of the groups that stage 1 accepts: Hoogenboom 2019, section 2.1.

    Parameters
    ----------
    decision_NG : ndarray of shape (N, G), bool
    within_NC : ndarray of shape (N, C), float, in [0, 1]
        Each class's probability, predicted by its group's stage 2 network.
    groups : dict
        Class numbers by group, in the order of the G columns.
    probabilities_NG : ndarray of shape (N, G), float, in [0, 1]
        Of the groups; they matter for samples without an accepted group.

    Returns
    -------
    ndarray of shape (N, C), float32
        Unchanged where the group is accepted, else 0: a threshold above `NOWHERE` gives the union over the
        groups. Of a sample without an accepted group, `NOWHERE` times those of `soft`, below every
        threshold that is not tuned to accept such samples: they only decide which label is the most likely.
    """
    routed_NC = np.where(spread(decision_NG, groups), within_NC, 0)
    is_routed_N1 = decision_NG.any(axis=1, keepdims=True)
    nowhere_NC = NOWHERE * soft(probabilities_NG, within_NC, groups)
    return np.where(is_routed_N1, routed_NC, nowhere_NC).astype(np.float32)


def soft(probabilities_NG: np.ndarray, within_NC: np.ndarray, groups: LocationGroups) -> np.ndarray:
    """Multiply each label's probability within its group by the group's: the product rule.

    Shapes as for `hard`; groups that stage 1 is unsure of contribute in proportion to their probability.
    """
    return (spread(probabilities_NG, groups) * within_NC).astype(np.float32)


def spread(values_NG: np.ndarray, groups: LocationGroups) -> np.ndarray:
    """Return the value of each class's group, shape (N, C)."""
    classes = sum(map(len, groups.values()))
    values_NC = np.zeros((len(values_NG), classes), values_NG.dtype)
    for column, labels in enumerate(groups.values()):
        values_NC[:, list(labels)] = values_NG[:, [column]]
    return values_NC
