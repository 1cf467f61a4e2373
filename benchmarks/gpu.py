"""What one GPU reaches: training, prediction and resuming of three networks, in one table in under 8 minutes.

Arrays of random pixels in the format of the cache pass through the real data pipeline. Every rate is measured
for some seconds after a warm-up, and the device has finished when a clock is read. Columns: images per
second; their share of the rate of the same steps on one batch that is already on the device; and the peak of
the memory that torch has allocated there. The start of the loading processes is not part of a rate.

Run     python benchmarks/gpu.py
        python benchmarks/gpu.py --networks resnet50 tf_efficientnetv2_s
        python benchmarks/gpu.py --toy        (the same in seconds, on a CPU, without torch.compile)
"""

import argparse
import gc
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training import describe, prepare, seconds_of_epoch

from lib import console, files, presets
from lib.config import Config
from lib.data import shards
from lib.data.run_data import Fold
from lib.data.sample_index import SampleIndex
from lib.data.sharded_array import ShardedArray
from lib.labels import CLASSES
from lib.learning import devices, models
from lib.learning.fit import fit
from lib.learning.inference import predict
from lib.learning.loader import make_loader
from lib.learning.training_data import TrainingData

SHARD_ROWS = 64
WARM_UP = 5  # steps
COMPILING = 100  # seconds that must be left


@dataclass(frozen=True)
class Scale:
    """What is measured, and for how long.

    Attributes
    ----------
    networks : tuple of str
    size, batch_size, samples : int
        Of images in pixels, of batches, and of the array.
    seconds : float
        Of each measurement.
    steps : int
        At most, in each.
    """

    networks: tuple[str, ...] = ("resnet34", "convnext_tiny", "densenet121")
    size: int = 512
    batch_size: int = 32
    samples: int = 2048
    seconds: float = 3.0
    steps: int = 1024


TOY = Scale(("test_resnet", "test_efficientnet"), size=32, batch_size=4, samples=16, seconds=0.05, steps=8)


class Table:
    """Rows of text, printed as they are measured and in the end as Markdown."""

    HEADER = ("measurement", "network", "precision", "images/s", "of resident", "peak memory", "remarks")

    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []
        self.started = time.monotonic()

    def add(self, *cells: str, rate: float = 0.0, share: float = 0.0, remarks: str = "") -> None:
        """Add a row; `cells` are measurement, network and precision, and memory is that since `start`."""
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if torch.cuda.is_available() else ""
        numbers = (f"{rate:,.1f}" if rate else "", f"{share:.3f}" if share else "", memory if rate else "")
        self.rows.append((*cells, *numbers, remarks))
        after = f"after {console.format_seconds(time.monotonic() - self.started)}"
        print(after, *filter(None, self.rows[-1]), sep="; ", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        lines = (self.HEADER, ("---",) * len(self.HEADER), *self.rows)
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_array(folder: Path, samples: int, size: int) -> None:
    """Write an array of random pixels, as stage 00 writes one."""
    random = np.random.default_rng(0)
    files.make_folder(folder)
    for number, start in enumerate(range(0, samples, SHARD_ROWS)):
        rows, path = min(SHARD_ROWS, samples - start), shards.array_path(folder, number)
        np.save(path, random.integers(0, 256, (rows, size, size, 4), dtype=np.uint8))
        metadata = {"files": "random", "state": "", "checksum": shards.array_checksum(path, rows, size)}
        moments = {"mean": [[127.5] * 4] * rows, "std": [[73.9] * 4] * rows}
        shards.write_metadata(folder, number, metadata | {"bad": []} | moments)
    settings = {"size": size, "rows": samples, "data.shard_rows": SHARD_ROWS}
    content = {"settings": settings, "inputs": {"list of ids": "random"}, "finished": True}
    files.write_json(folder / "array.json", content)


def open_array(folder: Path) -> TrainingData:
    """Return the samples of such an array, each with one class."""
    array = ShardedArray(folder)
    ids, targets = zip(*((f"r{row:06d}", (row % len(CLASSES),)) for row in range(len(array))), strict=True)
    return describe(array, SampleIndex(list(ids), list(targets), []))


def configure(scale: Scale, network: str, precision: str, *more: str) -> Config:
    """Return the settings of one measurement."""
    chosen = [
        f"data.sizes={scale.size}", f"training.size={scale.size}", f"all:network.architecture={network}",
        "network.pretrained=false", f"all:training.batch_size={scale.batch_size}",
        f"training.precision={precision}", *more,
    ]  # fmt: skip
    return presets.load("demo", chosen)


def start() -> None:
    """Forget what the last measurement has left on the device."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()  # compiled networks
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measure_training(
    training: TrainingData, config: Config, scale: Scale, workers: int, pipeline: bool = True
) -> tuple[float, float, float]:
    """Return images per second on a resident batch and through the pipeline, and its seconds to start."""
    # an epoch long enough for the fastest device
    rows = np.resize(training.data.folds[0].train, scale.steps * scale.batch_size)
    state, loader, resident = prepare(training, config, workers, Fold(None, train=rows, validation=rows))
    seconds_of_epoch(state, [resident] * WARM_UP)
    step = seconds_of_epoch(state, [resident] * WARM_UP) / WARM_UP
    steps = max(min(int(scale.seconds / step), scale.steps - 1), 2)
    rate = steps * scale.batch_size / seconds_of_epoch(state, [resident] * steps)
    if not pipeline:
        return rate, 0.0, 0.0
    started, batches = time.perf_counter(), iter(loader)
    next(batches)
    latency = time.perf_counter() - started
    seconds = seconds_of_epoch(state, itertools.islice(batches, steps))
    return rate, steps * scale.batch_size / seconds, latency


def measure_prediction(
    training: TrainingData, config: Config, scale: Scale, workers: int, views: int, rate: float
) -> float:
    """Return images per second of a prediction, after its first batch; `rate` is that of training."""
    count = min(int(scale.seconds * 3 * rate / views), scale.steps * scale.batch_size)
    rows = np.resize(training.data.folds[0].train, max(count, 2 * scale.batch_size))
    state, loader, _ = prepare(training, config, workers, training.data.folds[0])
    batches = make_loader(loader.dataset.source, rows, scale.batch_size, loader.num_workers)
    times: list[float] = []
    predict(state.model, batches, state.precision, "sigmoid", views=views,
            after_batch=lambda: times.append(time.perf_counter()))  # fmt: skip
    return (len(rows) - scale.batch_size) / (time.perf_counter() - times[0])  # the results are on the CPU


def train_small(folder: Path, array: Path, scale: Scale, precision: str, workers: int) -> None:
    """Train the first network for some epochs, with a checkpoint after every step; a process of its own."""
    console.quiet = True
    training = open_array(array)
    more = (
        "all:training.epochs=6",
        "training.checkpoint_steps=1",
        "training.ema_decay=0.9",
        "network.dropout=0.5",
    )
    config = configure(scale, scale.networks[0], precision, *more)
    rows = np.arange(4 * scale.batch_size)
    state, loader, _ = prepare(training, config, workers, Fold(None, train=rows, validation=rows))
    devices.make_deterministic(0)  # the same random numbers each time
    validation = make_loader(loader.dataset.source, rows, scale.batch_size, loader.num_workers)
    fit(state.model, loader, validation, config.training, folder, "benchmark")


def kill_and_resume(work: Path, array: Path, scale: Scale, precision: str, workers: int) -> str:
    """Kill a training and resume it; compare its weights with those of one that was never killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lib.learning.fit", "lib.learning.train_and_predict"])

    def process(name: str) -> multiprocessing.Process:
        started = context.Process(
            target=train_small, args=(files.make_folder(work / name), array, scale, precision, workers)
        )
        started.start()
        return started

    whole, killed = process("whole"), process("killed")
    state, saved = work / "killed" / "state.pt", set()
    while killed.is_alive() and len(saved) < 3:
        saved |= {state.stat().st_mtime_ns} if state.exists() else set()
        time.sleep(0.001)
    killed.kill()
    killed.join()
    for one in (process("killed"), whole):
        one.join()
        if one.exitcode:
            return f"failed with exit code {one.exitcode}"
    ours, theirs = (models.load_weights(work / name / "weights.safetensors") for name in ("killed", "whole"))
    difference = max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in theirs)
    after = f"killed after {len(saved)} checkpoints"
    return f"{after}: {'the same bits' if difference == 0 else f'weights differ by up to {difference:.1e}'}"


def measure(table: Table, scale: Scale, work: Path, workers: int, deadline: float, compile: bool) -> None:
    """Fill the table."""
    on_gpu = torch.cuda.is_available()
    has_bfloat16 = not on_gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    precisions = ["bfloat16", "float16"] if has_bfloat16 else ["float16"]
    main, rates = precisions[0], {}
    write_array(work / "array", scale.samples, scale.size)
    remarks = kill_and_resume(work, work / "array", scale, main, workers)
    training = open_array(work / "array")
    table.add("kill and resume", scale.networks[0], main, remarks=remarks)

    def add(name: str, network: str, precision: str, work: Callable[[], dict], needed: float = 30.0) -> None:
        if time.monotonic() + (needed if on_gpu else 0) > deadline:
            return table.add(name, network, precision, remarks="not measured: no time left")
        start()
        try:
            table.add(name, network, precision, **work())
        except torch.OutOfMemoryError:
            table.add(name, network, precision, remarks="out of memory")

    def train(network: str, precision: str, *more: str, pipeline: bool = False) -> dict:
        config = configure(scale, network, precision, *more)
        resident, rate, latency = measure_training(training, config, scale, workers, pipeline)
        if not pipeline:
            before = rates.get((network, precision))
            return {
                "rate": resident,
                "remarks": f"{resident / before:.2f} times the rate without" * bool(before),
            }
        rates[network, precision] = resident
        remarks = f"{resident:,.1f} on a resident batch; first batch after {latency:.1f} s"
        return {"rate": rate, "share": rate / resident, "remarks": remarks}

    def predicted(network: str, views: int) -> dict:
        config, rate = configure(scale, network, main), rates.get((network, main), 100.0)
        return {"rate": measure_prediction(training, config, scale, workers, views, rate)}

    for network, precision in itertools.product(scale.networks, precisions):
        add("training", network, precision, partial(train, network, precision, pipeline=True))
    for network, views in itertools.product(scale.networks, (1, 8)):
        name = "prediction" if views == 1 else "prediction, 8 views (TTA)"
        add(name, network, main, partial(predicted, network, views))
    options = [("training.cudnn_benchmark", 30.0), *[("training.compile", COMPILING)] * compile]
    for (option, needed), network in itertools.product(options, scale.networks):
        name = f"steps, {option}=true"
        add(name, network, main, partial(train, network, main, f"{option}=true"), needed)


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--toy", action="store_true", help="tiny networks and images")
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="of timm, instead of the three")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="loading processes")
    parser.add_argument("--minutes", type=float, default=7.5, help="what has not begun by then is left out")
    options = parser.parse_args()
    scale, table = TOY if options.toy else Scale(), Table()
    scale = replace(scale, networks=tuple(options.networks or scale.networks))
    console.quiet = True
    with tempfile.TemporaryDirectory() as folder:
        deadline = table.started + 60 * options.minutes
        measure(table, scale, Path(folder), options.workers, deadline, compile=not options.toy)
        gc.collect()  # closes the array before its folder is removed
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    took = console.format_seconds(time.monotonic() - table.started)
    print(
        f"\n{device}, torch {torch.__version__}, {options.workers} loading processes; {scale.size} px, "
        f"batches of {scale.batch_size}; measured in {took}\n\n{table}"
    )


if __name__ == "__main__":
    main()
