"""Speed and memory use of the biological features, and how well denoisers and segmentations agree.

Speed is relative to the code that Liu, Zhang and Zhou published: 8 seconds per sample of 512 px on one core.
Only features.segmentation=paper_code measures the same segments as that code.
With --reference, the values are compared with the tests' slow implementation (needs the tests' packages).

Run     python benchmarks/features.py --data FOLDER
        (FOLDER in Kaggle's layout; without --data, 100 samples of 512 px are simulated first)
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.cli import ROOT
from lib.data import kaggle
from lib.features.additional import COLUMNS
from lib.features.biological import SEGMENTATIONS, TEN, measure
from lib.labels import CHANNELS
from lib.simulation import dataset

PUBLISHED_SECONDS = 8.0
VARIANTS = (  # denoising, segmentation and features
    ("fast", "watershed", "ten"),
    ("fast", "watershed", "all"),
    ("paper", "watershed", "ten"),
    ("fast", "paper", "ten"),
    ("paper", "paper", "ten"),
    ("paper", "paper_code", "ten"),
)


def load(source: Path, limit: int) -> list[np.ndarray]:
    """Read the labelled samples, then those of the test set, at most `limit`."""
    ids = [("train", sample) for sample in kaggle.read_labels(source)[0]]
    ids += [("test", sample) for sample in kaggle.read_tables(source).test_ids]
    return [kaggle.read_image(source, *place) for place in ids[:limit]]


def time_each(images: list[np.ndarray]) -> None:
    """Print the processor time of each variant on one core; they alternate, sample by sample."""
    cv2.setNumThreads(1)
    seconds = dict.fromkeys(VARIANTS, 0.0)
    for image_HWK in images:
        for variant in VARIANTS:
            denoise, segmentation, columns = variant
            started = time.process_time()
            measure(image_HWK, denoise, COLUMNS[columns], segmentation)
            seconds[variant] += time.process_time() - started
    default = seconds[VARIANTS[0]]
    for (denoise, segmentation, columns), total in seconds.items():
        mean = total / len(images)
        print(
            f"{columns} features, denoising {denoise}, segmentation {segmentation}: {mean * 1000:.0f} ms per "
            f"sample of {len(images[0])} px on one core, {total / default:.1f} times the default, "
            f"{PUBLISHED_SECONDS / mean:.0f} times the published speed"
        )


def measure_both(image_HWK: np.ndarray) -> list[np.ndarray]:
    """Return all features, with fast and with the paper's denoising."""
    cv2.setNumThreads(1)
    return [measure(image_HWK, denoise, COLUMNS["all"]) for denoise in ("fast", "paper")]


def compare_denoising(images: list[np.ndarray]) -> None:
    """Print Spearman's rank correlation of fast and the paper's denoising, feature by feature."""
    values = np.array(Parallel(2)(delayed(measure_both)(image) for image in images))
    fast_NF, paper_NF = np.moveaxis(values, 1, 0)
    print(f"\nrank correlation of fast and the paper's denoising over {len(images)} samples")
    for column, name in enumerate(COLUMNS["all"]):
        defined_N = ~np.isnan(fast_NF[:, column]) & ~np.isnan(paper_NF[:, column])
        pair = fast_NF[defined_N, column], paper_NF[defined_N, column]
        print(f"{name:<28}{spearmanr(*pair)[0]:.3f}")


def compare_segmentations(images: list[np.ndarray]) -> None:
    """Print each segmentation's values, and their rank correlation with the published code's, by feature."""
    find = delayed(measure)
    values = {
        name: np.array(Parallel(2)(find(image, "paper", TEN, name) for image in images))
        for name in SEGMENTATIONS
    }
    print(
        f"\nsegmentations over {len(images)} samples, the paper's denoising: median (10th to 90th "
        "percentile; undefined), rank correlation with paper_code"
    )
    for column, feature in enumerate(TEN):
        published_N = values["paper_code"][:, column]
        for name, values_NF in values.items():
            values_N = values_NF[:, column]
            defined_N = ~np.isnan(values_N)
            low, median, high = np.percentile(values_N[defined_N], (10, 50, 90), method="nearest")
            both_N = defined_N & ~np.isnan(published_N)
            print(
                f"{feature:<28}{name:<12}{median:.4g} ({low:.4g} to {high:.4g}; {(~defined_N).sum()})  "
                f"{spearmanr(values_N[both_N], published_N[both_N])[0]:.2f}"
            )


def compare_with_reference(images: list[np.ndarray]) -> None:
    """Print the largest relative difference from the tests' implementation, feature by feature."""
    from tests.features.reference import reference

    expected = Parallel(2)(delayed(reference)(image) for image in images)
    print(f"\nlargest relative difference from the slow reference over {len(images)} samples")
    ours_NF = np.array([measure(image, "fast", TEN) for image in images])
    for column, name in enumerate(TEN):
        expected_N = np.array([values[name] for values in expected])
        same = (np.isnan(ours_NF[:, column]) == np.isnan(expected_N)).all()
        with np.errstate(divide="ignore", invalid="ignore"):
            difference_N = np.abs(ours_NF[:, column] / expected_N - 1)
        print(f"{name:<28}{np.nanmax(difference_N):.1e}" + ("" if same else "  undefined elsewhere"))


def peak_memory(source: Path, folder: Path, count: int) -> float:
    """Return the peak memory in MB of stage 01, in one process, over links to `count` samples."""
    ids, _ = kaggle.read_labels(source)
    raw, work = folder / f"raw{count}", folder / f"work{count}"
    rows = []
    for subset in kaggle.SUBSETS:
        (raw / subset).mkdir(parents=True)
    for row in range(count):
        sample = ids[row % len(ids)]
        for channel in CHANNELS:
            path = kaggle.image_path(source, "train", sample, channel).resolve()
            kaggle.image_path(raw, "train", f"s{row}", channel).symlink_to(path)
            if row == 0:
                kaggle.image_path(raw, "test", "t", channel).symlink_to(path)
        rows.append(f"s{row},{row % 4}")
    (raw / "train.csv").write_text("\n".join(["Id,Target", *rows]) + "\n")
    (raw / "sample_submission.csv").write_text("Id,Predicted\nt,0\n")
    options = ["--preset", "smoke", "--data", str(raw), "--work", str(work), "--quiet"]
    options += ["--set", "data.sizes=512", "training.size=512", "data.shard_rows=50"]
    prepare, stage = (
        [sys.executable, str(ROOT / script), *options, "--workers", workers]
        for script, workers in (("00_prepare.py", "2"), ("01_features.py", "1"))
    )
    subprocess.run(prepare, check=True)
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return int(subprocess.check_output([sys.executable, "-c", code, *stage])) / 1000


def main() -> None:
    """Print all measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit", type=int, default=100, help="largest number of samples to measure")
    parser.add_argument("--reference", action="store_true", help="compare with the tests' implementation")
    parser.add_argument(
        "--memory",
        type=int,
        nargs="+",
        default=[],
        help="also measure the peak memory with these numbers of samples, for example 100 2000",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = options.data or folder / "simulated"
        if not options.data:
            dataset.write_dataset(source, train_samples=60, test_samples=40, size=512, seed=0, workers=2)
        images = load(source, options.limit)
        time_each(images)
        compare_denoising(images)
        compare_segmentations(images)
        if options.reference:
            compare_with_reference(images)
        for count in options.memory:
            print(
                f"stage 01 over {count:,} samples of 512 px: peak {peak_memory(source, folder, count):.0f} MB"
            )


if __name__ == "__main__":
    main()
