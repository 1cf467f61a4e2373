"""Compare simulated images with tables of statistics of the real ones.

    python benchmarks/simulation_statistics.py --data data/demo --real train_meta.csv.gz test_meta.csv.gz

The first table is compared with the training images, the second with the test images. A table has a row
for each image and the columns ``{red,green,blue}_{mean,std,non_zero_fraction}``, scaled to 0-1.
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


def measure(folder: Path, limit: int) -> pd.DataFrame:
    """Measure the images of a folder: one row a sample, columns as in the real tables."""
    names = sorted(path.name[: -len("_red.png")] for path in folder.glob("*_red.png"))[:limit]
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
    """Write one line for each channel and statistic; yellow, which has no real table, is held to red."""
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
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of a simulated set")
    parser.add_argument("--real", type=Path, nargs="+", required=True, help="table for train, then for test")
    parser.add_argument("--limit", type=int, default=1000, help="most images of each part that are read")
    options = parser.parse_args()
    for split, table in zip(("train", "test"), options.real, strict=False):
        simulated = measure(options.data / split, options.limit)
        print(f"{split}: {len(simulated)} simulated images; * is more than {TOLERANCE:.0%} off")
        print("\n".join(compare(simulated, pd.read_csv(table))))


if __name__ == "__main__":
    main()
