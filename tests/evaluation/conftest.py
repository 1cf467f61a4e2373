"""Samples that several tests of the evaluation share."""

import numpy as np
import pytest
from scipy.special import expit


@pytest.fixture(scope="module")
def sample():
    """Labels of 3,000 samples and calibrated probabilities; classes of 40 % down to none."""
    random = np.random.default_rng(5)
    offset_C = np.array([-0.5, -2.0, -4.0, -6.0, -60.0])
    probabilities_NC = expit(random.normal(0, 2, (3000, 5)) + offset_C)
    return random.uniform(size=(3000, 5)) < probabilities_NC, probabilities_NC
