"""What benchmarks on simulated samples share: runs of the stages, and answers that Kaggle would keep.

Called by the others: python benchmarks/simulated_runs.py does nothing.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.cli import ROOT
from lib.evaluation import predictions, thresholds
from lib.labels import parse_target, target_matrix


def run_stages(stages: tuple[str, ...], options: list[str]) -> None:
    """Run some of the scripts; what is done already is up to date."""
    for script in stages:
        subprocess.run([sys.executable, str(ROOT / f"{script}.py"), *options], check=True)


def judge(work: Path, dataset: str, run: str, predictor: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth_NC, probabilities_NC and decision_NC (as handed in) of a run's test samples."""
    folder = work / "outputs" / run
    table = predictions.load(folder / "predictions" / predictor / "test.npz")
    thresholds_C = thresholds.load(folder / "thresholds" / f"{predictor}.json", "test")
    solution = pd.read_csv(work / "data" / dataset / "solution.csv", dtype=str).set_index("Id")
    truth_NC = target_matrix([parse_target(text) for text in solution.loc[table.ids, "Target"]])
    return truth_NC, table.probabilities_NC, thresholds.submitted(table.probabilities_NC, thresholds_C)
