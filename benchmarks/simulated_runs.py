"""What the benchmarks on simulated cells share: options, runs of the stages, scores and the table of gains.

Imported by the others; python benchmarks/simulated_runs.py does nothing.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import cli
from lib.data.run_data import RunData
from lib.evaluation.predictor_scores import EvaluatedPredictor
from lib.labels import parse_target, target_matrix
from lib.report.run_report import RunReport

MIN_POSITIVES = 5  # of a class, for an average precision


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that these benchmarks share."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--work", type=Path, required=True, help="folder for data and outputs")
    result.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        help="override settings of the benchmark, for example to try it with fewer samples",
    )
    return result


def seeds_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of a benchmark that compares predictors over several seeds."""
    result = parser(description)
    result.add_argument("--seeds", type=int, default=3, help="number of seeds")
    return result


def parse_seeds(description: str) -> argparse.Namespace:
    """Parse the options of a benchmark that compares predictors over several seeds."""
    return seeds_parser(description).parse_args()


def run_stages(
    scripts: tuple[str, ...], preset: str, name: str, settings: list[str], work: Path
) -> RunReport:
    """Run some of the scripts, which skip what is complete; return the evaluation of the run.

    Parameters
    ----------
    scripts : tuple of str
        Without ``.py``; options of its own may follow a script's name.
    """
    options = ["--preset", preset, "--work", str(work), "--run", name, "--set", *settings]
    for script, *own in map(str.split, scripts):
        command = [sys.executable, str(cli.ROOT / f"{script}.py"), *own, *options]
        if code := subprocess.run(command).returncode:
            sys.exit(code)  # the script has printed why
    run = cli.start(cli.parser("One run. "), [*options, "--quiet"])
    return RunReport.of(run, RunData.read(run))


def test_truth(predictor: EvaluatedPredictor, solution: Path) -> np.ndarray:
    """Return truth_NC of the test samples, in the order in which they are predicted.

    Parameters
    ----------
    solution : Path
        The labels that Kaggle would withhold.
    """
    targets = pd.read_csv(solution, dtype=str).set_index("Id")["Target"]
    return target_matrix([parse_target(text) for text in targets[predictor.data.ids("test")]])


def average_precision(truth_NC: np.ndarray, probabilities_NC: np.ndarray) -> float:
    """Return the mean average precision of the classes with at least `MIN_POSITIVES` samples."""
    enough = truth_NC.sum(axis=0) >= MIN_POSITIVES
    return average_precision_score(truth_NC[:, enough], probabilities_NC[:, enough], average="macro")
