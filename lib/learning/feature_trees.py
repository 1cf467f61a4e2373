"""Gradient boosted trees on the biological features alone, without images: one model per class."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from lib.console import Progress


def fit_and_predict(
    features_NF: np.ndarray, truth_NC: np.ndarray, train_rows: np.ndarray, seed: int
) -> np.ndarray:
    """Fit scikit-learn's histogram gradient boosting to some rows and predict all rows.

    Parameters
    ----------
    features_NF : ndarray of shape (N, F)
        nan where a value is undefined; the trees treat it as a category of its own.
    truth_NC : ndarray of shape (M, C), bool
        Targets of the first M <= N rows.
    train_rows : ndarray of int

    Returns
    -------
    ndarray of shape (N, C), float32
        Probabilities; for a class that all or none of the training rows have, 1 or 0.
    """
    # trees only compare a value with a threshold: a large number can replace infinity
    features_NF = np.nan_to_num(features_NF, nan=np.nan, posinf=np.finfo(np.float32).max)
    # scikit-learn accepts no column that is always undefined
    features_NF = features_NF[:, ~np.isnan(features_NF[train_rows]).all(axis=0)]
    target_NC = truth_NC[train_rows]
    probabilities_NC = np.tile(target_NC.mean(axis=0).astype(np.float32), (len(features_NF), 1))
    with Progress(target_NC.shape[1], "gradient boosting", "classes") as progress:
        for label, share in enumerate(target_NC.mean(axis=0)):
            if 0 < share < 1:
                trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
                trees.fit(features_NF[train_rows], target_NC[:, label])
                probabilities_NC[:, label] = trees.predict_proba(features_NF)[:, 1]
            progress.update()
    return probabilities_NC
