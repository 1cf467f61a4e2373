"""Building the cache against bare decoding and resizing of the same files, with as many processes.

Bare is ``cv2.imread`` of the four files of a sample and ``cv2.resize`` of each; the result is dropped. Ours
also checks every file, merges the channels, measures them, and writes shards and their metadata. The two
alternate, so that a machine that becomes slower affects both.

Run     python benchmarks/cache.py --data FOLDER --size 256
        (FOLDER in Kaggle's layout; without --data, 200 samples of 512 px are simulated first)
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
from joblib import Parallel, delayed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.data import cache, kaggle
from lib.labels import CHANNELS
from lib.simulation import dataset

SHARD_ROWS = 64


def bare(source: Path, ids: list[str], size: int) -> None:
    """Decode and resize the channels of some samples."""
    cv2.setNumThreads(1)
    for sample in ids:
        for channel in CHANNELS:
            plane = cv2.imread(str(kaggle.image_path(source, "train", sample, channel)), cv2.IMREAD_UNCHANGED)
            cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA)


def main() -> None:
    """Time both in turn and print rates and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = options.data or Path(folder) / "simulated"
        if not options.data:
            dataset.write_dataset(
                source, train_samples=200, test_samples=0, size=512, seed=0, workers=options.workers
            )
        ids, _ = kaggle.read_labels(source)
        chunks = [ids[start : start + SHARD_ROWS] for start in range(0, len(ids), SHARD_ROWS)]
        seconds: dict[str, list[float]] = {"bare": [], "ours": []}
        with Parallel(n_jobs=options.workers) as pool:
            for turn in range(options.rounds + 1):  # the first warms up processes and page cache
                started = time.perf_counter()
                pool(delayed(bare)(source, chunk, options.size) for chunk in chunks)
                seconds["bare"].append(time.perf_counter() - started)
                cached = Path(folder) / "cache"
                started = time.perf_counter()
                cache.build(source, cached, "train", ids, (options.size,), SHARD_ROWS, options.workers)
                seconds["ours"].append(time.perf_counter() - started)
                shutil.rmtree(cached)
                rates = ", ".join(f"{len(ids) / own[-1]:.0f} {name}" for name, own in seconds.items())
                print(f"round {turn}: samples per second: {rates}")
    ratios = [b / o for b, o in zip(seconds["bare"][1:], seconds["ours"][1:], strict=True)]
    print(
        f"{len(ids)} samples of 4 files to {options.size} px, {options.workers} processes: "
        f"ours at {statistics.median(ratios):.2f} of the bare rate "
        f"(median of {len(ratios)}; {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
