"""What the data cost: an epoch through the data pipeline against the same steps on one resident batch.

Both learn with the same code; the resident batch is loaded once. They take turns, so that a machine
that slows down slows both. On a GPU the batch stays on it.

Run     python benchmarks/training.py                                                  (as the preset demo)
        python benchmarks/training.py --size 512 --architecture resnet34 --batch-size 8 --samples 48
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import presets
from lib.data import cache, kaggle
from lib.data.sample_index import Index
from lib.labels import target_matrix
from lib.learning import train_and_predict
from lib.learning.loader import Batch
from lib.learning.task import Task
from lib.learning.train_state import Learner
from lib.learning.training_data import Material, Source
from lib.simulation import dataset


def seconds_of(learner: Learner, batches: Iterable[Batch]) -> float:
    """Learn from all batches and wait for the device."""
    learner.model.train()
    started = time.perf_counter()
    for batch in batches:
        learner.learn(batch, 1e-4)
    if learner.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    learner.next_epoch()
    return seconds


def main() -> None:
    """Time both in turn and print rates and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--workers", type=int, default=8, help="loading processes, where there is a GPU")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    chosen = [
        f"data.sizes={options.size}", f"training.size={options.size}",
        f"training.batch_size={options.batch_size}", f"network.architecture={options.architecture}",
    ]  # fmt: skip
    settings = presets.load("demo", chosen)
    with tempfile.TemporaryDirectory() as folder:
        raw, cached = Path(folder) / "raw", Path(folder) / "cache"
        dataset.write_dataset(
            raw, train_samples=options.samples, test_samples=0, size=options.size, seed=0, workers=2
        )
        ids, targets = kaggle.read_labels(raw)
        cache.build(raw, cached, "train", ids, (options.size,), 256, workers=2)
        source = Source(cache.ShardedArray(cached / f"train_{options.size}"), ids)
        rows = np.arange(len(ids))
        channels = source.array.channel_statistics(rows)
        material = Material(Index(ids, targets, []), {}, list(rows), channels, source, source, {})
        run = SimpleNamespace(config=settings, workers=options.workers)
        task = Task("benchmark", run, material, target_matrix(targets), rows, rows, None, None)
        model, loader = train_and_predict.start(task)
        learner = Learner(model, settings.training, loader)
        first = Batch(*(tensor.to(learner.device) for tensor in next(iter(loader))))
        ratios = []
        for turn in range(options.rounds + 1):  # the first warms up
            loader.batch_sampler.epoch = turn
            piped = seconds_of(learner, loader)
            resident = seconds_of(learner, [first] * len(loader))
            rates = [len(loader) * options.batch_size / seconds for seconds in (piped, resident)]
            print(f"round {turn}: {rates[0]:.1f} images a second piped, {rates[1]:.1f} resident")
            ratios += [piped / resident] * (turn > 0)
    print(
        f"{options.architecture}, {options.size} px, batches of {options.batch_size}, {learner.device}: "
        f"an epoch costs {statistics.median(ratios):.3f} of its steps on one resident batch "
        f"(median of {len(ratios)}; {min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
