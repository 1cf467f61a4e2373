"""Recall and false pairs of the duplicate search against its thresholds, on simulated cells; and its speed.

Simulated fields of one scene show the same cells, shifted by up to 6 % of the image and recorded anew, with
other exposure, blur, noise and unspecific staining. These are the true pairs; all other pairs are false, also
those of one antibody. Only thumbnails are kept, 250 MB for 20,000 samples; a killed run resumes. The number
of false pairs that pass verification is estimated from the tail of the false candidates' correlations, which
is fitted by an exponential distribution above its `TAIL` quantile.

Run     python benchmarks/duplicates.py --work FOLDER --size 128 --samples 20000     (7 minutes of one core)
        python benchmarks/duplicates.py --work FOLDER --size 512 --samples 6000      (10 minutes)
        python benchmarks/duplicates.py --work FOLDER --random 117380                (speed, random hashes)
        python benchmarks/duplicates.py --work FOLDER --images FOLDER        (shifted copies of real images:
        a folder in Kaggle's layout, whose samples are without duplicates)
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib import files, parallel
from lib.console import Progress
from lib.data import duplicates, kaggle, opencv, perceptual_hash
from lib.data.perceptual_hash import BITS, CHANNELS
from lib.simulation import dataset
from lib.simulation.antibodies import PlannedSample, plan_samples

PLAN = (16_000, 4_000, 7)  # training samples, test samples, seed; `--samples` takes the first ones
CHUNK = 200
FULL = 117_380  # Kaggle's images and the external ones
WIDEST = 70  # largest sum of distances in the table
DISTANCES = (36, 44, 50, 54, 58, 60, 62, 64, 66, 68, 70)
EACH_CHANNEL = (8, 12, 16, 20)  # the simpler rule: largest distance in any channel
CORRELATIONS = (0.6, 0.7, 0.75, 0.8)
TAIL = 0.98


def draw_thumbnails(samples: list[PlannedSample], *, folder: Path, size: int) -> None:
    """Simulate some samples and keep their thumbnails."""
    with opencv.single_thread():
        drawn = [dataset.draw_sample(sample, size, PLAN[2]) for sample in samples]
        thumbnails = np.stack([perceptual_hash.thumbnail(image_HWK) for image_HWK in drawn])
    with files.write_atomic(_chunk(folder, size, samples)) as part, part.open("wb") as file:
        np.save(file, thumbnails)


def _chunk(folder: Path, size: int, samples: list[PlannedSample]) -> Path:
    return folder / f"{size}_{samples[0].number:05d}.npy"


def simulate(folder: Path, size: int, count: int, workers: int) -> tuple[Path, set[tuple[int, int]]]:
    """Write thumbnails and hashes of simulated samples; return their folder, and the rows of true pairs."""
    plan = plan_samples(*PLAN)[:count]
    chunks = [plan[start : start + CHUNK] for start in range(0, len(plan), CHUNK)]
    missing = [chunk for chunk in chunks if not _chunk(folder, size, chunk).exists()]
    with Progress(len(plan), f"simulated cells of {size} px", "samples") as progress:
        for _ in parallel.run(partial(draw_thumbnails, folder=folder, size=size), missing, workers, progress):
            pass
    thumbnails = np.concatenate([np.load(_chunk(folder, size, chunk)) for chunk in chunks])[: len(plan)]
    started = time.process_time()
    hashes = np.stack([perceptual_hash.hash_thumbnail(own_KHW) for own_KHW in thumbnails])
    print(f"hashes from thumbnails: {(time.process_time() - started) / len(plan) * 1e3:.3f} ms per sample")
    tables = files.make_folder(folder / f"tables_{size}_{count}")
    np.save(tables / "thumbnails.npy", thumbnails)
    np.save(tables / "hashes.npy", hashes)
    scenes = [(sample.antibody, sample.scene) for sample in plan]
    return tables, {(row - 1, row) for row in range(1, len(plan)) if scenes[row] == scenes[row - 1]}


def measure(tables: Path, true: set[tuple[int, int]], workers: int) -> None:
    """Print the table of recall and false pairs."""
    duplicates.MAX_DISTANCE = WIDEST  # in this process
    started = time.process_time()
    candidates = duplicates.search(tables / "hashes.npy", 1)
    searched = time.process_time()
    hashes = np.load(tables / "hashes.npy")
    total, pairs = len(hashes), len(hashes) * (len(hashes) - 1) // 2
    print(f"{total:,} samples, {pairs:,} pairs, {len(true):,} of them true")
    print(f"search: {(searched - started) / pairs * 1e9:.1f} ns per pair (CPU)")
    started = time.process_time()
    correlations = duplicates.verify(tables / "thumbnails.npy", candidates[:2000], 1)
    milliseconds = (time.process_time() - started) / len(correlations) * 1e3
    print(f"verification: {milliseconds:.2f} ms per candidate (CPU)")
    correlations = duplicates.verify(tables / "thumbnails.npy", candidates, workers)
    is_true = np.array([pair in true for pair in map(tuple, candidates[:, :2].tolist())])
    a, b = candidates[:, 0], candidates[:, 1]
    products = perceptual_hash.signs(hashes[a]) * perceptual_hash.signs(hashes[b])
    distances = (BITS - products.reshape(len(a), len(CHANNELS), BITS).sum(axis=2)) / 2
    print(f"\n| distance | recall | false per 1e9 | {FULL:,} images | " + _columns() + " |")
    rules = [(f"each <= {limit}", distances.max(axis=1) <= limit) for limit in EACH_CHANNEL]
    rules += [(f"sum <= {limit}", candidates[:, 3] <= limit) for limit in DISTANCES]
    for name, close in rules:
        false = correlations[close & ~is_true]
        cells = [f"{(close & is_true).sum() / len(true):.3f}", f"{len(false) / pairs * 1e9:,.1f}"]
        cells.append(f"{len(false) / pairs * FULL * (FULL - 1) / 2:,.0f}")
        for least in CORRELATIONS:
            found = (close & is_true & (correlations >= least)).sum() / len(true)
            estimate, upper = (expected / pairs * 1e9 for expected in tail(false, least))
            cells.append(f"{found:.3f}; {(false >= least).sum()}; {estimate:.2g} ({upper:.2g})")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"per 1e9: estimated from the tail (95 % limit); {FULL:,} images have {FULL**2 / 2e9:.2f}e9 pairs")


def _columns() -> str:
    return " | ".join(f"correlation >= {least}: recall; false; per 1e9" for least in CORRELATIONS)


def tail(correlations: np.ndarray, least: float) -> tuple[float, float]:
    """Return the expected number of correlations above `least`, and a 95 % upper limit; nan for few.

    The limit includes the error of the exponential distribution's scale, not that of its form.
    """
    if len(correlations) < 200:
        return np.nan, np.nan
    start = np.quantile(correlations, TAIL)
    beyond = correlations[correlations > start] - start
    scale = beyond.mean() * np.array([1, 1 + 1.645 / np.sqrt(len(beyond))])
    estimate, upper = len(beyond) * np.exp(-max(least - start, 0) / scale)
    return float(estimate), float(upper)


def time_search(folder: Path, total: int, workers: int) -> None:
    """Time the search among random hashes."""
    hashes = np.random.default_rng(0).integers(0, 2**63, (total, 3), dtype=np.uint64)
    hashes |= np.random.default_rng(1).integers(0, 2, (total, 3), dtype=np.uint64) << np.uint64(63)
    np.save(folder / "random.npy", hashes)
    started, cpu = time.perf_counter(), time.process_time()
    found = duplicates.search(folder / "random.npy", workers)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{total:,} random hashes: {seconds:.1f} s with {workers} processes; {len(found):,} candidates")
    print(f"CPU time of this process alone: {cpu:.1f} s")


def measure_copies(source: Path) -> None:
    """Print the recall of copies of real images: shifted, blurred, of other exposure and noise."""
    images = [
        kaggle.read_image(source, "train", sample)[..., :3] for sample in kaggle.read_labels(source)[0]
    ] + [kaggle.read_image(source, "test", sample)[..., :3] for sample in kaggle.read_tables(source).test_ids]
    images = [image_HWK for image_HWK in images if min(image_HWK.shape[:2]) >= 512]
    rng = np.random.default_rng(0)
    thumbnails = [perceptual_hash.thumbnail(image_HWK) for image_HWK in images]
    bits = perceptual_hash.signs(np.stack([perceptual_hash.hash_thumbnail(own) for own in thumbnails]))
    bits = bits.reshape(-1, len(CHANNELS), BITS)
    upper = np.triu_indices(len(images), 1)
    unrelated = [(BITS - bits[:, k] @ bits[:, k].T)[upper] / 2 for k in range(len(CHANNELS))]
    print(f"{len(images)} images; distances of unrelated ones: ", end="")
    print(", ".join(f"{np.mean(own):.1f} ± {np.std(own):.1f}" for own in unrelated))
    print(
        "\n| shift of at most, of the side | sum of distances, median | recall | correlation, 1 % quantile |"
    )
    for shift in (0, 8, 16, 24, 32):
        sums, found = [], []
        for image_HWK in images * 3:
            x, y = 32 + rng.integers(-shift, shift + 1, 2)
            pair = [
                perceptual_hash.thumbnail(record(image_HWK[top : top + 448, left : left + 448], rng))
                for top, left in ((32, 32), (y, x))
            ]
            first, second = perceptual_hash.signs(
                np.stack([perceptual_hash.hash_thumbnail(own) for own in pair])
            )
            sums.append((len(CHANNELS) * BITS - first @ second) / 2)
            found.append(perceptual_hash.correlation(*pair))
        is_close = (np.array(sums) <= duplicates.MAX_DISTANCE) & (
            np.array(found) >= duplicates.MIN_CORRELATION
        )
        print(
            f"| {shift / 448:.3f} | {np.median(sums):.0f} | {is_close.mean():.3f} | "
            f"{np.quantile(found, 0.01):.2f} |"
        )


def record(image_HWK: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Record an image anew: other blur, exposure, noise and black level of each channel."""
    channels = []
    for plane_HW in np.moveaxis(image_HWK.astype(np.float32), 2, 0):
        light_HW = cv2.GaussianBlur(plane_HW, (0, 0), rng.uniform(0.3, 1.2)) * np.exp(rng.normal(0, 0.4))
        noise_HW = rng.standard_normal(light_HW.shape, np.float32) * np.sqrt(np.maximum(light_HW, 0))
        channels.append(light_HW + rng.uniform(0.2, 1) * noise_HW - rng.uniform(0, 3))
    return np.clip(np.stack(channels, axis=2), 0, 255).astype(np.uint8)


def main() -> None:
    """Print what the options ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--samples", type=int, help="simulate that many, at most 20,000")
    parser.add_argument("--random", type=int, help="time the search among that many random hashes")
    parser.add_argument("--images", type=Path, help="folder of real images in Kaggle's layout")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    folder = files.make_folder(options.work)
    if options.samples:
        tables, true = simulate(folder, options.size, options.samples, options.workers)
        measure(tables, true, options.workers)
    if options.random:
        time_search(folder, options.random, options.workers)
    if options.images:
        measure_copies(options.images)


if __name__ == "__main__":
    main()
