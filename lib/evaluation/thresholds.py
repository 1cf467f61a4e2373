"""From probabilities to decisions: per-class thresholds, chosen by one of several methods."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit

from lib import files, schema, tables
from lib.errors import UserError, quote
from lib.evaluation.calibration import (
    SMALLEST,
    Calibration,
    adjust_to_frequencies,
    estimate_frequencies,
)
from lib.evaluation.predictions import LabelledPredictions
from lib.labels import CLASSES
from lib.sections import Threshold

SCRIPT = "04_threshold.py"  # writes the thresholds
HIGHEST = float(np.nextafter(1.0, np.inf))  # the threshold above a probability of 1

Rule = Callable[[np.ndarray], np.ndarray]  # from the probabilities_NC to be decided on to their thresholds_C


def read_frequencies(path: str, training_C: np.ndarray) -> np.ndarray:
    """Read the class frequencies expected where thresholds are applied (Liu et al. 2018, section 6.2.2).

    Parameters
    ----------
    path : str
        A CSV file with the columns class (name or number) and frequency (0 to 1).
    training_C : ndarray of shape (C,), float
        Class frequencies of the training set, used for classes that the file does not list.

    Returns
    -------
    ndarray of shape (C,), float64, in [0, 1]

    Raises
    ------
    UserError
        If the file is missing, or a class or frequency is invalid.
    """
    columns = ("class", "frequency")
    if not os.path.lexists(path):
        raise UserError(
            f"threshold.frequencies={path}: expected training, estimated, or a CSV file with the columns "
            f"{','.join(columns)}"
        )
    frequency_C = training_C.astype(np.float64)
    for line, label, text in tables.read_class_table(Path(path), columns, class_column="class"):
        try:
            frequency_C[label] = float(text)
        except ValueError:
            frequency_C[label] = np.nan
        if not 0 <= frequency_C[label] <= 1:
            raise UserError(f"{path}, line {line}: frequency {quote(text)}; expected a number from 0 to 1")
    return frequency_C


def choose(tuning: LabelledPredictions, frequency_C: np.ndarray, settings: Threshold) -> Rule:
    """Return the rule that ``threshold.method`` names.

    The thresholds of the methods frequency and expected_f1 depend on the unlabelled predictions they are
    applied to and differ between subsets. Those of the other methods depend on the tuning samples alone.

    Parameters
    ----------
    tuning : LabelledPredictions
        Of the tuning samples, usually those of validation.
    frequency_C : ndarray of shape (C,), float, in [0, 1]
        Class frequencies of the training set, or those that the user expects where thresholds are applied;
        for the methods frequency and expected_f1.
    """
    match settings.method:
        case "fixed":
            return _constant(np.full(tuning.truth_NC.shape[1], settings.fixed))
        case "global":
            return _constant(_global_thresholds(tuning, settings.fixed))
        case "f1":
            return _constant(_f1_thresholds(tuning, settings.fixed))
        case "shrunk":
            return _constant(_shrunk_thresholds(tuning, settings))
        case "frequency":
            return _by_frequency(tuning, frequency_C, settings)
        case "expected_f1":
            return _by_expected_f1(tuning, frequency_C, settings)
    raise ValueError(f"unknown threshold method {settings.method!r}")


def best_f1_threshold(truth_N: np.ndarray, probability_N: np.ndarray) -> tuple[float, float]:
    """Find the threshold with the highest F1, exactly.

    Decisions change only between two different probabilities, so it is enough to try the thresholds between
    them: the samples are sorted once, and the true positives are counted from the top. Among equally good
    thresholds, the highest is returned.

    Parameters
    ----------
    truth_N : ndarray of shape (N,), bool
        At least one is true.
    probability_N : ndarray of shape (N,), float, in [0, 1]

    Returns
    -------
    threshold, f1 : float
        ``probability >= threshold`` is a positive decision. The threshold lies half way between the two
        probabilities that it separates; it is 0 if all decisions are positive.

    Examples
    --------
    >>> best_f1_threshold(np.array([True, False, True]), np.array([0.9, 0.2, 0.6]))
    (0.4, 1.0)
    """
    order = np.argsort(-probability_N, kind="stable")
    true_positives_N = np.cumsum(truth_N[order])
    predicted_N = np.arange(1, len(order) + 1)
    f1_N = 2 * true_positives_N / (predicted_N + true_positives_N[-1])
    return _best_threshold(probability_N[order], f1_N)


def best_global_threshold(truth_NC: np.ndarray, probabilities_NC: np.ndarray) -> tuple[float, float]:
    """Find the common threshold of all classes with the highest macro-F1, exactly.

    As the threshold decreases past one probability after another, each changes the F1 of one class: the
    macro-F1 is the cumulative sum of these changes.

    Parameters
    ----------
    truth_NC : ndarray of shape (N, C), bool
        At least one is true.
    probabilities_NC : ndarray of shape (N, C), float, in [0, 1]

    Returns
    -------
    threshold, macro_f1 : float
        As for `best_f1_threshold`; the macro-F1 is the mean over the classes with at least one sample.
    """
    present = np.flatnonzero(truth_NC.any(axis=0))
    order_NC = np.argsort(-probabilities_NC[:, present], axis=0, kind="stable")
    sorted_NC = np.take_along_axis(probabilities_NC[:, present], order_NC, axis=0)
    true_positives_NC = np.take_along_axis(truth_NC[:, present], order_NC, axis=0).cumsum(axis=0)
    predicted_N1 = np.arange(1, len(true_positives_NC) + 1)[:, None]
    f1_NC = 2 * true_positives_NC / (predicted_N1 + true_positives_NC[-1])
    change_NC = np.diff(f1_NC, axis=0, prepend=0) / len(present)
    order = np.argsort(-sorted_NC, axis=None, kind="stable")
    return _best_threshold(sorted_NC.ravel()[order], change_NC.ravel()[order].cumsum())


def frequency_threshold(probability_N: np.ndarray, frequency: float) -> float:
    """Return the threshold that predicts a class for the given share of samples (Liu et al. 2018, 6.2.2).

    Parameters
    ----------
    probability_N : ndarray of shape (N,), float, in [0, 1]
    frequency : float, in [0, 1]
        If it is above 0, at least one sample is wanted.

    Returns
    -------
    float
        Equal probabilities get equal decisions: of the possible numbers of samples, the nearest is used. If
        that is none, the threshold lies above all probabilities.
    """
    sorted_N = -np.sort(-probability_N)
    wanted = max(frequency * len(sorted_N), 1) if frequency > 0 else 0
    closeness_N = -np.abs(np.arange(1, len(sorted_N) + 1) - wanted)
    return _best_threshold(sorted_N, closeness_N, none=-wanted)[0]


def expected_f1_threshold(probability_N: np.ndarray, calibrated_N: np.ndarray) -> float:
    """Return the threshold with the highest expected F1 on unlabelled samples: the plug-in rule.

    It maximises ``2 * (sum of the calibrated probabilities of predicted samples) / (number of predicted
    samples + sum of all calibrated probabilities)``: Jansche 2007, Ye et al. 2012, Lipton et al. 2014.

    Parameters
    ----------
    probability_N : ndarray of shape (N,), float, in [0, 1]
        The probabilities that the threshold applies to.
    calibrated_N : ndarray of shape (N,), float, in [0, 1]
        The same probabilities, calibrated; they rank the samples in the same order.

    Returns
    -------
    float
        Above all probabilities if all calibrated ones are 0.
    """
    order = np.argsort(-probability_N, kind="stable")
    sum_N = np.cumsum(calibrated_N[order])
    expected_N = 2 * sum_N / (np.arange(1, len(order) + 1) + sum_N[-1])
    return _best_threshold(probability_N[order], expected_N, none=0)[0]


def decide(probabilities_NC: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return decision_NC, bool: whether each probability reaches its threshold.

    Parameters
    ----------
    probabilities_NC : ndarray of shape (N, C), float, in [0, 1]
    thresholds : ndarray of shape (C,) or (N, C), float
        One per class, or one per sample and class, as out-of-fold predictions require.
    """
    return probabilities_NC.astype(np.float64) >= thresholds


def at_least_one(decision_NC: np.ndarray, probabilities_NC: np.ndarray) -> np.ndarray:
    """Return a copy of the decisions in which samples without a label get their most probable class."""
    result_NC = decision_NC.copy()
    empty_N = ~decision_NC.any(axis=1)
    result_NC[empty_N, probabilities_NC[empty_N].argmax(axis=1)] = True
    return result_NC


def at_most(
    decision_NC: np.ndarray, probabilities_NC: np.ndarray, thresholds: np.ndarray, count: int
) -> np.ndarray:
    """Return the decisions limited to `count` labels per sample: those furthest above their thresholds.

    Distances are differences of logits. `thresholds` has shape (C,) or (N, C), as for `decide`.
    """
    clipped = (np.clip(values, SMALLEST, 1 - SMALLEST) for values in (probabilities_NC, thresholds))
    distance_NC = np.subtract(*map(logit, clipped))
    distance_NC[~decision_NC] = -np.inf
    rank_NC = np.argsort(np.argsort(-distance_NC, axis=1, kind="stable"), axis=1, kind="stable")
    return decision_NC & (rank_NC < count)


def final_decisions(
    probabilities_NC: np.ndarray,
    thresholds: np.ndarray,
    max_labels: int = 0,
    allowed_NC: np.ndarray | None = None,
) -> np.ndarray:
    """Return the decisions that are submitted: `decide`, then `at_most`, then `at_least_one`.

    Parameters
    ----------
    probabilities_NC : ndarray of shape (N, C), float, in [0, 1]
    thresholds : ndarray of shape (C,) or (N, C), float
        One per class, or one per sample and class, as out-of-fold predictions require.
    max_labels : int
        Largest number of labels per sample; 0 for no limit.
    allowed_NC : ndarray of shape (N, C), bool, or None
        Labels that stage 1 of a hierarchy accepts; a sample for which it accepts none may have any.

    Returns
    -------
    ndarray of shape (N, C), bool
        At least one label per sample.
    """
    if allowed_NC is not None:
        allowed_NC = allowed_NC | ~allowed_NC.any(axis=1, keepdims=True)
        probabilities_NC = np.where(allowed_NC, probabilities_NC, -1)
    decision_NC = decide(probabilities_NC, thresholds)
    if max_labels:
        decision_NC = at_most(decision_NC, probabilities_NC, thresholds, max_labels)
    return at_least_one(decision_NC, probabilities_NC)


def as_table(thresholds: dict[str, np.ndarray]) -> dict[str, dict]:
    """Return thresholds as nested dictionaries for a JSON file, which `load` reads.

    Parameters
    ----------
    thresholds : dict of ndarray of shape (C,) or (folds, C), float
        By subset; with one row per fold for subsets whose samples are decided by their fold's thresholds.

    Returns
    -------
    dict of dict
        By subset: ``{class: threshold}``, or with folds ``{"fold_0": {class: threshold}, ...}``.
    """
    return {
        subset: _by_name(values)
        if values.ndim == 1
        else {f"fold_{fold}": _by_name(values_C) for fold, values_C in enumerate(values)}
        for subset, values in thresholds.items()
    }


def load(path: Path, subset: str, folds: int = 1) -> np.ndarray:
    """Read the thresholds of a subset from a JSON file.

    Parameters
    ----------
    path : Path
        ``outputs/<run>/thresholds/<predictor>.json``, as `as_table` returns it.
    subset : str
        A labelled subset, or ``test``.
    folds : int
        Of a run with folds, where the subset is the one whose samples are decided by their fold's thresholds.

    Returns
    -------
    ndarray of shape (C,) or (folds, C), float64, in [0, 1]
        With one row per fold if there are several; indexed with the samples' folds, these are
        the (N, C) thresholds that `decide` takes.

    Raises
    ------
    UserError
        If the file is missing or damaged, or has no thresholds for the subset.
    """
    table = files.read_json(path, SCRIPT, dict[str, dict[str, Any]])
    with files.reading(path, SCRIPT):
        if subset not in table:
            raise ValueError(f"it has no thresholds for {subset}")
        if folds == 1:
            return _parse(table[subset], subset)
        names = [f"fold_{fold}" for fold in range(folds)]
        if sorted(table[subset]) != sorted(names):
            raise ValueError(f"{subset} has other folds than {', '.join(names)}")
        return np.stack([_parse(table[subset][name], f"{subset} {name}") for name in names])


def _parse(entry: Any, where: str) -> np.ndarray:
    """Return the thresholds of all classes, shape (C,); a `ValueError` if they are not in [0, 1]."""
    by_class = schema.parse(entry, dict[str, float], where)
    if sorted(by_class) != sorted(CLASSES):
        raise ValueError(f"{where} does not list the {len(CLASSES)} classes")
    for name, value in by_class.items():
        if not 0 <= value <= HIGHEST:
            raise ValueError(f"{where} {name} is {value}, expected a threshold from 0 to 1")
    return np.array([by_class[name] for name in CLASSES])


def _by_name(values_C: np.ndarray) -> dict[str, float]:
    return dict(zip(CLASSES, values_C.tolist(), strict=True))


def _constant(thresholds_C: np.ndarray) -> Rule:
    return lambda _probabilities_NC: thresholds_C


def _f1_thresholds(tuning: LabelledPredictions, default: float) -> np.ndarray:
    """Return each class's best threshold; the default for classes without a sample."""
    thresholds_C = np.full(tuning.truth_NC.shape[1], default)
    for label in np.flatnonzero(tuning.truth_NC.any(axis=0)):
        pair = tuning.truth_NC[:, label], tuning.probabilities_NC[:, label]
        thresholds_C[label], _ = best_f1_threshold(*pair)
    return thresholds_C


def _global_thresholds(tuning: LabelledPredictions, default: float) -> np.ndarray:
    """Return the common threshold for every class; the default if no class has a sample."""
    threshold = default
    if tuning.truth_NC.any():
        threshold, _ = best_global_threshold(tuning.truth_NC, tuning.probabilities_NC)
    return np.full(tuning.truth_NC.shape[1], threshold)


def _shrunk_thresholds(tuning: LabelledPredictions, settings: Threshold) -> np.ndarray:
    """Return thresholds between the common and each class's own, the nearer to its own the more samples.

    Positions between them are linear in logits: n samples move a class by ``n / (n + threshold.shrinkage)``.
    """
    common_C = _global_thresholds(tuning, settings.fixed)
    own_C = _f1_thresholds(tuning, settings.fixed)
    positives_C = tuning.truth_NC.sum(axis=0)
    present = positives_C > 0
    share_C = positives_C[present] / (positives_C[present] + settings.shrinkage)
    from_C, to_C = (logit(np.clip(ends_C[present], SMALLEST, 1 - SMALLEST)) for ends_C in (common_C, own_C))
    common_C[present] = expit(from_C + share_C * (to_C - from_C))
    return common_C


def _by_frequency(tuning: LabelledPredictions, given_C: np.ndarray, settings: Threshold) -> Rule:
    calibrate = _calibration_rule(tuning, given_C, settings)

    def rule(probabilities_NC: np.ndarray) -> np.ndarray:
        _, frequency_C = calibrate(probabilities_NC)
        return np.array(list(map(frequency_threshold, probabilities_NC.T, frequency_C)))

    return rule


def _by_expected_f1(tuning: LabelledPredictions, frequency_C: np.ndarray, settings: Threshold) -> Rule:
    calibrate = _calibration_rule(tuning, frequency_C, settings)

    def rule(probabilities_NC: np.ndarray) -> np.ndarray:
        calibrated_NC, _ = calibrate(probabilities_NC)
        return np.array(list(map(expected_f1_threshold, probabilities_NC.T, calibrated_NC.T)))

    return rule


def _calibration_rule(
    tuning: LabelledPredictions, given_C: np.ndarray, settings: Threshold
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a function from probabilities_NC to calibrated_NC and the frequencies of the classes among them.

    The calibration is fitted once, for all subsets to be decided on.
    """
    match settings.calibration:
        case "none":
            calibration = None
        case "class" | "pooled":
            pooled = settings.calibration == "pooled"
            calibration = Calibration(tuning.probabilities_NC, tuning.truth_NC, pooled)
        case _:
            raise ValueError(f"unknown calibration {settings.calibration!r}")

    def calibrate(probabilities_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calibrated_NC = calibration(probabilities_NC) if calibration else probabilities_NC.astype(np.float64)
        if settings.frequencies == "training":
            return calibrated_NC, given_C
        tuning_C = tuning.truth_NC.mean(axis=0)
        estimated = settings.frequencies == "estimated"  # otherwise a file, which `given_C` comes from
        frequency_C = estimate_frequencies(calibrated_NC, tuning_C) if estimated else given_C
        return adjust_to_frequencies(calibrated_NC, tuning_C, frequency_C), frequency_C

    return calibrate


def _best_threshold(sorted_N: np.ndarray, value_N: np.ndarray, none: float = -np.inf) -> tuple[float, float]:
    """Return the threshold below the sample with the highest value, and that value.

    Equal probabilities get equal decisions, so a threshold can only follow the last of them.

    Parameters
    ----------
    sorted_N : ndarray of shape (N,), float
        Probabilities in descending order.
    value_N : ndarray of shape (N,), float
        Value of predicting the class for this sample and all before it; of equal values, the first wins.
    none : float
        Value of predicting it for no sample: unless another is higher, the threshold is above all
        probabilities.
    """
    sorted_N = sorted_N.astype(np.float64)
    last_of_equals_N = np.append(sorted_N[1:] < sorted_N[:-1], True)
    best = int(np.argmax(np.where(last_of_equals_N, value_N, -np.inf)))
    if value_N[best] <= none:
        return float(np.nextafter(sorted_N[0], np.inf)), none
    lower = sorted_N[best + 1] if best + 1 < len(sorted_N) else -sorted_N[best]
    return float((sorted_N[best] + lower) / 2), float(value_N[best])
