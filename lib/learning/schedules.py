"""Learning rates as factors of a peak rate."""

import math


def cyclical_factor(epochs: float, cycle_length: float) -> float:
    """Return the cyclical rate of Liu et al. 2018, section 5.1 (after Smith 2017), as a factor.

    A triangle: 0 at the start of a cycle, 1 in its middle, 0 at its end.

    Parameters
    ----------
    epochs : float
        Epochs since the start, fractions included.
    cycle_length : float
        Epochs of a whole cycle.

    Returns
    -------
    float
        In [0, 1]: ``1 - |2 t / L - 2 cycle + 1|`` with ``cycle = floor(1 + t / L)``.
    """
    cycle = math.floor(1 + epochs / cycle_length)
    return 1 - abs(2 * epochs / cycle_length - 2 * cycle + 1)
