"""Cost of the data pipeline: an epoch through it against the same number of steps on one resident batch.

Both train with the same code; the resident batch is loaded once, and stays on the GPU if there is one. They
alternate, so that a machine that becomes slower affects both. The peak of the memory is that of the process,
or what torch has allocated on the GPU. On a busy CPU, the rate per second of processor time is that of one
core (OMP_NUM_THREADS=1).

Run     python benchmarks/training.py                                                  (ResNet18 at 128 px)
        python benchmarks/training.py --size 512 --architecture resnet34 --batch-size 8 --samples 48
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import presets
from lib.config import Config
from lib.data import cache, kaggle
from lib.data.run_data import Fold, RunData
from lib.data.sample_index import SampleIndex
from lib.labels import CLASSES, LOCATION_GROUPS
from lib.learning import task, train_and_predict
from lib.learning.loader import Batch
from lib.learning.train_state import TrainState
from lib.learning.training_data import SampleSource, TrainingData
from lib.simulation import dataset


def seconds_of_epoch(state: TrainState, batches: Iterable[Batch]) -> float:
    """Train on all batches, of an epoch at most, and wait for the device."""
    state.model.train()
    if state.device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for batch in batches:
        state.train_batch(batch, rate=1e-4)
    if state.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    state.next_epoch()
    return seconds


def simulate(folder: Path, samples: int, size: int) -> TrainingData:
    """Simulate and cache samples, which are all in the training subset."""
    raw, cached = folder / "raw", folder / "cache"
    dataset.write_dataset(raw, train_samples=samples, test_samples=0, size=size, seed=0, workers=2)
    ids, targets = kaggle.read_labels(raw)
    cache.build(raw, cached, "train", ids, (size,), 256, workers=2)
    return describe(cache.ShardedArray(cached / f"train_{size}"), SampleIndex(ids, targets, []))


def describe(array: cache.ShardedArray, index: SampleIndex) -> TrainingData:
    """Return the labelled samples of an array, which are all in the training subset."""
    rows = np.arange(len(array))
    data = RunData(
        index,
        subsets={"train": rows},
        folds=(Fold(None, train=rows, validation=rows),),
        classes=list(range(len(CLASSES))),
        groups=LOCATION_GROUPS,
    )
    source = SampleSource(array, index.train_ids)
    return TrainingData(data, [array.channel_statistics(rows)], labelled=source, test=source, inputs={})


def prepare(
    training: TrainingData, config: Config, workers: int, fold: Fold
) -> tuple[TrainState, DataLoader, Batch]:
    """Return an untrained network's state, its batches, and one of them on its device."""
    run = SimpleNamespace(config=config, workers=workers)
    model, loader = train_and_predict.prepare(task.of_all_classes("benchmark", run, training), fold)
    state = TrainState(model, config.training, loader)
    return state, loader, Batch(*(tensor.to(state.device) for tensor in next(iter(loader))))


def peak_memory() -> float:
    """Return the peak of the memory in GiB: of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # in KiB on Linux


def main() -> None:
    """Time both in turn and print rates, their ratio and the memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--architecture", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--workers", type=int, default=8, help="loading processes, if there is a GPU")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    chosen = [
        f"data.sizes={options.size}", f"training.size={options.size}",
        f"all:training.batch_size={options.batch_size}", "network.pretrained=false",
        f"all:network.architecture={options.architecture}",
    ]  # fmt: skip
    config = presets.load("demo", chosen)
    with tempfile.TemporaryDirectory() as folder:
        training = simulate(Path(folder), options.samples, options.size)
        state, loader, resident = prepare(training, config, options.workers, training.data.folds[0])
        ratios = []
        for turn in range(options.rounds + 1):  # the first warms up
            loader.batch_sampler.epoch = turn
            seconds = [seconds_of_epoch(state, loader)]
            processor = time.process_time()
            seconds.append(seconds_of_epoch(state, [resident] * len(loader)))
            seconds.append(time.process_time() - processor)
            rates = [len(loader) * options.batch_size / one for one in seconds]
            print(
                f"round {turn}: images per second: {rates[0]:.2f} pipeline, {rates[1]:.2f} resident batch, "
                f"{rates[2]:.2f} per second of processor time"
            )
            ratios += [seconds[0] / seconds[1]] * (turn > 0)
    print(
        f"{options.architecture}, {options.size} px, batches of {options.batch_size}, {state.device}: "
        f"an epoch takes {statistics.median(ratios):.3f} of the time of its steps on one resident batch "
        f"(median of {len(ratios)}; {min(ratios):.3f} to {max(ratios):.3f}); "
        f"peak memory {peak_memory():.1f} GiB"
    )


if __name__ == "__main__":
    main()
