"""Compare the brightness statistics of simulated images with those of real ones.

The first table is compared with the training images, the second with the test images, both by camera. A table
has a row per image and the columns ``{red,green,blue}_{mean,std,non_zero_fraction}``, scaled to 0-1, and
``original_size``, the side of the original image in pixels.

Run     python benchmarks/simulation_statistics.py --data FOLDER --real TRAIN_TABLE TEST_TABLE
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.labels import CHANNELS

QUANTILES = (0.1, 0.5, 0.9)
STATISTICS = ("mean", "std", "non_zero_fraction")
TOLERANCE = 0.35
SMALL_SIDE = 2048  # pixels


def measure(folder: Path, names: list[str]) -> pd.DataFrame:
    """Measure images of a folder: a row per sample, columns as in the tables of real images."""
    rows = []
    for name in names:
        row = {}
        for channel in CHANNELS:
            image_HW = cv2.imread(str(folder / f"{name}_{channel}.png"), cv2.IMREAD_GRAYSCALE)
            row[f"{channel}_mean"] = image_HW.mean() / 255
            row[f"{channel}_std"] = image_HW.std() / 255
            row[f"{channel}_non_zero_fraction"] = np.count_nonzero(image_HW) / image_HW.size
        rows.append(row)
    return pd.DataFrame(rows)


def compare(simulated: pd.DataFrame, real: pd.DataFrame) -> list[str]:
    """Return a line per channel and statistic; yellow, absent from the tables, is compared with red."""
    lines = [f"{'':26}" + "".join(f"{f'{q:.0%} sim':>10}{'real':>9}{'ratio':>7}  " for q in QUANTILES)]
    for channel in CHANNELS:
        for statistic in STATISTICS:
            column = f"{channel}_{statistic}"
            line = f"{column:26}"
            for quantile in QUANTILES:
                ours = simulated[column].quantile(quantile)
                theirs = real[column.replace("yellow", "red")].quantile(quantile)
                ratio = ours / theirs
                mark = " " if abs(ratio - 1) <= TOLERANCE else "*"
                line += f"{ours:10.4f}{theirs:9.4f}{ratio:7.2f}{mark} "
            lines.append(line)
    return lines


def main() -> None:
    """Print the comparison of each subset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of a simulated data set")
    parser.add_argument("--real", type=Path, nargs="+", required=True, help="tables for train and test")
    parser.add_argument("--limit", type=int, default=500, help="largest number of images per table")
    options = parser.parse_args()
    sides = pd.read_csv(options.data / "original_sides.csv")
    for subset, table in zip(("train", "test"), options.real, strict=False):
        real = pd.read_csv(table)
        for camera, is_large in (("small", False), ("large", True)):
            of_camera = sides[(sides["set"] == subset) & ((sides["side"] > SMALL_SIDE) == is_large)]
            names = of_camera["id"].tolist()[: options.limit]
            print(f"{subset}, {camera}: {len(names)} simulated; * marks a difference over {TOLERANCE:.0%}")
            real_images = real[(real["original_size"] > SMALL_SIDE) == is_large]
            print("\n".join(compare(measure(options.data / subset, names), real_images)))


if __name__ == "__main__":
    main()
