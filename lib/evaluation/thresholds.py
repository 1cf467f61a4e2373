"""From probabilities to yes and no: one threshold a class, chosen in one of several ways."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from lib import files
from lib.config import Threshold
from lib.errors import UserError
from lib.evaluation.calibration import SMALLEST, Calibration, estimate_frequencies, moved
from lib.labels import CLASSES, class_number

PARTS = 5  # that validation is dealt to, for the cross-validated optimum
Rule = Callable[[np.ndarray], np.ndarray]  # probabilities_NC that are decided on, to thresholds_C


@dataclass(frozen=True)
class Known:
    """What thresholds are chosen by.

    Attributes
    ----------
    truth_NC, probabilities_NC : ndarray of shape (N, C)
        Of the samples that tune.
    frequency_C : ndarray of shape (C,)
        How frequent the classes are in training, or where they are decided on, as the user says.
    """

    truth_NC: np.ndarray
    probabilities_NC: np.ndarray
    frequency_C: np.ndarray


def read_frequencies(path: str, training_C: np.ndarray) -> np.ndarray:
    """Read how frequent classes are where they are decided on: Liu et al. 2018, section 6.2.2.

    Parameters
    ----------
    path : str
        A CSV file with the columns class, by name or number, and frequency, 0 to 1.
    training_C : ndarray of shape (C,)
        Taken for classes that the file leaves out.
    """
    if not Path(path).is_file():
        raise UserError(
            f"threshold.frequencies={path}: expected training, estimated, or a CSV file with the columns "
            f"class,frequency"
        )
    table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    if not {"class", "frequency"} <= set(table):
        raise UserError(f"{path} has the columns {','.join(table)}; expected class,frequency")
    frequency_C = training_C.astype(np.float64)
    for row, (name, text) in enumerate(zip(table["class"], table["frequency"], strict=True)):
        label, value = class_number(name), pd.to_numeric(text, errors="coerce")
        if label is None:
            raise UserError(f"{path}, line {row + 2}: {name!r} is none of the 28; expected 0-27 or a name")
        if not 0 <= value <= 1:
            raise UserError(f"{path}, line {row + 2}: frequency {text!r}; expected a number, 0 to 1")
        frequency_C[label] = value
    return frequency_C


def choose(known: Known, settings: Threshold) -> Rule:
    """Return the rule that the settings name.

    The rules frequency and expected_f1 look at the predictions that are decided on, without labels: their
    thresholds differ from set to set. The others' do not.
    """
    if settings.method == "frequency":
        return _by_frequency(known, settings)
    if settings.method == "expected_f1":
        return _by_expected_f1(known, settings)
    truth_NC, probabilities_NC = known.truth_NC, known.probabilities_NC
    positives_C = truth_NC.sum(axis=0)
    thresholds_C = np.full(truth_NC.shape[1], settings.fixed)
    if settings.method in ("global", "shrunk", "cross_validated") and positives_C.any():
        thresholds_C[:], _ = best_global_threshold(truth_NC, probabilities_NC)
    for label in np.flatnonzero(positives_C):
        given = truth_NC[:, label], probabilities_NC[:, label]
        if settings.method in ("f1", "shrunk"):
            own, _ = best_f1_threshold(*given)
            share = positives_C[label] / (positives_C[label] + settings.shrinkage)
            thresholds_C[label] = (
                own if settings.method == "f1" else _between(thresholds_C[label], own, share)
            )
        elif settings.method == "cross_validated" and positives_C[label] > 1:
            thresholds_C[label] = cross_validated_threshold(*given)
    return lambda _probabilities_NC: thresholds_C


def best_f1_threshold(truth_N: np.ndarray, probability_N: np.ndarray) -> tuple[float, float]:
    """Find the threshold with the highest F1, exactly.

    Only cuts between two different probabilities can differ, so those are tried, all of them: sorted
    once, true positives counted from the top. Of equally good cuts the highest is taken.

    Parameters
    ----------
    truth_N : ndarray of shape (N,), bool
        At least one is true.
    probability_N : ndarray of shape (N,), float, in [0, 1]

    Returns
    -------
    threshold, f1 : float
        ``probability >= threshold`` is a yes. The threshold lies half way between the two
        probabilities that it parts, or is 0 where all are a yes.

    Examples
    --------
    >>> best_f1_threshold(np.array([True, False, True]), np.array([0.9, 0.2, 0.6]))
    (0.4, 1.0)
    """
    order = np.argsort(-probability_N, kind="stable")
    hits_N = np.cumsum(truth_N[order])
    predicted_N = np.arange(1, len(order) + 1)
    return _best_cut(probability_N[order], 2 * hits_N / (predicted_N + hits_N[-1]))


def best_global_threshold(truth_NC: np.ndarray, probabilities_NC: np.ndarray) -> tuple[float, float]:
    """Find the one threshold of all classes with the highest macro-F1, exactly.

    Going down through the probabilities of all classes, each changes one class's F1: the macro-F1 is the
    running sum of the changes. Ties and the result are as for `best_f1_threshold`; macro-F1 is over the
    classes that a sample carries.
    """
    present = np.flatnonzero(truth_NC.any(axis=0))
    order_NC = np.argsort(-probabilities_NC[:, present], axis=0, kind="stable")
    sorted_NC = np.take_along_axis(probabilities_NC[:, present], order_NC, axis=0)
    hits_NC = np.take_along_axis(truth_NC[:, present], order_NC, axis=0).cumsum(axis=0)
    f1_NC = 2 * hits_NC / (np.arange(1, len(hits_NC) + 1)[:, None] + hits_NC[-1])
    change_NC = np.diff(f1_NC, axis=0, prepend=0) / len(present)
    order = np.argsort(-sorted_NC, axis=None, kind="stable")
    return _best_cut(sorted_NC.ravel()[order], change_NC.ravel()[order].cumsum())


def cross_validated_threshold(truth_N: np.ndarray, probability_N: np.ndarray) -> float:
    """Return the mean of the optima of `PARTS` overlapping parts of the samples: each leaves a fifth out.

    Those with and those without the class are dealt at random, always alike.
    """
    part_N = np.empty(len(truth_N), int)
    random = np.random.default_rng(0)
    for side in (True, False):
        rows = np.flatnonzero(truth_N == side)
        part_N[random.permutation(rows)] = np.arange(len(rows)) % PARTS
    kept = [part_N != part for part in range(PARTS)]
    optima = [best_f1_threshold(truth_N[k], probability_N[k])[0] for k in kept if truth_N[k].any()]
    return float(np.mean(optima))


def frequency_threshold(probability_N: np.ndarray, frequency: float) -> float:
    """Return the threshold that as large a share passes as the frequency says, at least one sample.

    Of equal probabilities all or none pass, whichever is nearer. The highest threshold where the frequency
    is 0: above all.
    """
    sorted_N = -np.sort(-probability_N)
    wanted = max(frequency * len(sorted_N), 1) if frequency > 0 else -1
    return _best_cut(sorted_N, -np.abs(np.arange(1, len(sorted_N) + 1) - wanted), none=wanted < 0)[0]


def expected_f1_threshold(probability_N: np.ndarray, chance_N: np.ndarray) -> float:
    """Return the threshold with the highest expected F1, without labels: the plug-in rule.

    The cut that maximises ``2 * (sum of the chances above it) / (number above it + sum of all chances)``:
    Jansche 2007, Ye et al. 2012, Lipton et al. 2014. Above all where no sample has a chance.

    Parameters
    ----------
    probability_N : ndarray of shape (N,), float
        What is cut.
    chance_N : ndarray of shape (N,), float
        How likely each sample carries the class, in the same order of size: the probability, calibrated.
    """
    order = np.argsort(-probability_N, kind="stable")
    sum_N = np.cumsum(chance_N[order])
    expected_N = 2 * sum_N / (np.arange(1, len(order) + 1) + sum_N[-1])
    return _best_cut(probability_N[order], expected_N, none=sum_N[-1] == 0)[0]


def _best_cut(sorted_N: np.ndarray, value_N: np.ndarray, none: bool = False) -> tuple[float, float]:
    """Return the threshold after the sample with the best value, of probabilities sorted downwards.

    Equal probabilities get equal decisions: a cut can only follow the last of them. With `none`, the
    threshold lies above all.
    """
    sorted_N = sorted_N.astype(np.float64)
    if none:
        return float(np.nextafter(sorted_N[0], np.inf)), 0.0
    last_of_equals = np.append(sorted_N[1:] < sorted_N[:-1], True)
    best = int(np.argmax(np.where(last_of_equals, value_N, -np.inf)))
    lower = sorted_N[best + 1] if best + 1 < len(sorted_N) else -sorted_N[best]
    return float((sorted_N[best] + lower) / 2), float(value_N[best])


def _between(origin: float, target: float, share: float) -> float:
    """Return the threshold that lies a share of the way from one to another, in logits."""
    ends = logit(np.clip([origin, target], SMALLEST, 1 - SMALLEST))
    return float(expit(ends[0] + share * (ends[1] - ends[0])))


def _chances(known: Known, settings: Threshold) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return what tells of probabilities_NC how likely each label is, and how frequent classes are.

    It is fitted once, for all sets that are decided on.
    """
    calibrate = None
    if settings.calibration != "none":
        calibrate = Calibration(known.probabilities_NC, known.truth_NC, settings.calibration == "pooled")

    def chances(probabilities_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chances_NC = calibrate(probabilities_NC) if calibrate else probabilities_NC.astype(np.float64)
        if settings.frequencies == "training":
            return chances_NC, known.frequency_C
        tuning_C = known.truth_NC.mean(axis=0)
        estimated = settings.frequencies == "estimated"
        frequency_C = estimate_frequencies(chances_NC, tuning_C) if estimated else known.frequency_C
        return moved(chances_NC, tuning_C, frequency_C), frequency_C

    return chances


def _by_frequency(known: Known, settings: Threshold) -> Rule:
    chances = _chances(known, settings)

    def rule(probabilities_NC: np.ndarray) -> np.ndarray:
        _, frequency_C = chances(probabilities_NC)
        return np.array(list(map(frequency_threshold, probabilities_NC.T, frequency_C)))

    return rule


def _by_expected_f1(known: Known, settings: Threshold) -> Rule:
    chances = _chances(known, settings)

    def rule(probabilities_NC: np.ndarray) -> np.ndarray:
        chances_NC, _ = chances(probabilities_NC)
        return np.array(list(map(expected_f1_threshold, probabilities_NC.T, chances_NC.T)))

    return rule


def decide(probabilities_NC: np.ndarray, thresholds_C: np.ndarray) -> np.ndarray:
    """Return decision_NC, bool: yes where a probability reaches its class's threshold."""
    return probabilities_NC.astype(np.float64) >= thresholds_C


def at_least_one(decision_NC: np.ndarray, probabilities_NC: np.ndarray) -> np.ndarray:
    """Give every sample without a yes its most probable class; returns a new decision_NC."""
    result_NC = decision_NC.copy()
    empty = ~decision_NC.any(axis=1)
    result_NC[empty, probabilities_NC[empty].argmax(axis=1)] = True
    return result_NC


def at_most(
    decision_NC: np.ndarray, probabilities_NC: np.ndarray, thresholds_C: np.ndarray, count: int
) -> np.ndarray:
    """Leave every sample its `count` labels that are furthest above their thresholds, in logits."""
    ends = (np.clip(values, SMALLEST, 1 - SMALLEST) for values in (probabilities_NC, thresholds_C))
    above_NC = np.subtract(*map(logit, ends))
    above_NC[~decision_NC] = -np.inf
    rank_NC = np.argsort(np.argsort(-above_NC, axis=1, kind="stable"), axis=1, kind="stable")
    return decision_NC & (rank_NC < count)


def submitted(
    probabilities_NC: np.ndarray,
    thresholds_C: np.ndarray,
    max_labels: int = 0,
    allowed_NC: np.ndarray | None = None,
) -> np.ndarray:
    """Return the decisions that are handed in: `decide`, at most so many labels, `at_least_one`.

    Parameters
    ----------
    max_labels : int
        0: no cap.
    allowed_NC : ndarray of shape (N, C), bool, or None
        Which labels a hierarchy's stage 1 admits; a sample for which it admits none may have any.
    """
    if allowed_NC is not None:
        allowed_NC = allowed_NC | ~allowed_NC.any(axis=1, keepdims=True)
        probabilities_NC = np.where(allowed_NC, probabilities_NC, -1)
    decision_NC = decide(probabilities_NC, thresholds_C)
    if max_labels:
        decision_NC = at_most(decision_NC, probabilities_NC, thresholds_C, max_labels)
    return at_least_one(decision_NC, probabilities_NC)


def as_table(thresholds_C: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return thresholds by subset and class name, for a JSON file; `load` reads it."""
    return {
        subset: dict(zip(CLASSES, values_C.tolist(), strict=True))
        for subset, values_C in thresholds_C.items()
    }


def load(path: Path, subset: str) -> np.ndarray:
    """Read thresholds_C of a subset, or of ``test``; a `UserError` says so where there are none."""
    table = files.read_json(files.require(path, "04_threshold.py")).get(subset)
    if table is None:
        raise UserError(f"{path} has no thresholds for {subset}: run `python 04_threshold.py --force`")
    return np.array([table[name] for name in CLASSES])
