"""Simulated samples in Kaggle's own layout: a stand-in where the real images cannot be had."""

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib import files, parallel
from lib.config import Simulation
from lib.console import Progress, say
from lib.data import kaggle
from lib.errors import UserError
from lib.labels import CHANNELS, CLASSES
from lib.simulation import camera
from lib.simulation.antibodies import (
    DIVIDING_SHARE,
    Antibody,
    Sample,
    describe_antibody,
    plan_samples,
    public_part,
)
from lib.simulation.canvas import REACH
from lib.simulation.field import Field, make_field
from lib.simulation.proteins import protein

CHUNK = 16  # samples that a process draws at a time
PNG_COMPRESSION = 1  # packing harder takes longer than drawing
FAINTEST = -3.0  # brightness of the faintest proteins, standard deviations from the median
BRIDGE, SPINDLE = CLASSES.index("Cytokinetic bridge"), CLASSES.index("Mitotic spindle")


def ensure_dataset(folder: Path, settings: Simulation, workers: int, force: bool) -> None:
    """Write the simulated samples that the settings describe, unless they are there.

    Parameters
    ----------
    folder : Path
        ``data/<name>``.
    force : bool
        Replace samples that were simulated with other settings, instead of refusing.

    Raises
    ------
    UserError
        If the folder holds samples of other settings, or files that were not simulated, or another
        process is writing there.
    """
    chosen = {f"simulation.{key}": value for key, value in asdict(settings).items()}
    other_way = "--set simulation.name=NAME keeps both"
    step = files.Step(
        "simulated set", folder / "simulation.json", chosen, {}, [folder / "train.csv"], other_way
    )
    with files.lock(folder):
        if not step.manifest.exists() and (folder / "train.csv").exists():
            raise UserError(f"{folder} holds files that were not simulated here: --set simulation.name=NAME")
        if step.manifest.exists() and not step.matches(force):
            step.manifest.unlink()
            for part in kaggle.SUBSETS:
                shutil.rmtree(folder / part, ignore_errors=True)
        if step.done():
            return
        write_dataset(
            folder,
            train_samples=settings.train_samples,
            test_samples=settings.test_samples,
            size=settings.size,
            seed=settings.seed,
            workers=workers,
            visibility=settings.visibility,
        )
        step.finish()
    total = settings.train_samples + settings.test_samples
    say(f"simulated {total:,} samples of {settings.size} px in {folder}")


def write_dataset(
    folder: Path, *, train_samples: int, test_samples: int, size: int, seed: int, workers: int,
    visibility: float = 1.0,
) -> None:  # fmt: skip
    """Write simulated samples as Kaggle lays them out, and the answers that Kaggle would keep.

    Writes ``train/{id}_{channel}.png`` and ``test/...`` (8-bit grayscale, size x size; channels red,
    green, blue, yellow), then ``train.csv`` (Id, Target), ``sample_submission.csv`` (Id, Predicted) and
    ``solution.csv`` (Id, Target, Usage, Antibody) of all samples; Usage is Train, Public or Private.
    Nothing depends on `workers`. A run that was cut off goes on where it was: samples whose four files
    are there are not drawn again. Label sets and the least number of samples of a class: see
    `lib.simulation.antibodies.plan_samples`.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    train_samples, test_samples : int
        Number of samples of each part.
    size : int
        Side of the images in pixels; only the sampling depends on it, not what is in the field.
    seed : int
        Fixes every byte.
    workers : int
        Number of processes.
    visibility : float
        1 is realistic. Larger makes patterns easier to see, for small images and short demonstrations:
        the field is magnified by its square root, noise, glow and unspecific staining are divided by it,
        labels show in more of the cells (their share to the power of its inverse), and the faintest
        proteins are brightened (by 2 standard deviations for each doubling).
    """
    samples = plan_samples(train_samples, test_samples, seed)
    for split in kaggle.SUBSETS:
        files.make_folder(folder / split)
    missing = [s for s in samples if not all(path.exists() for path in _paths(folder, s))]
    tasks = [missing[k : k + CHUNK] for k in range(0, len(missing), CHUNK)]
    draw = partial(_write_chunk, folder=folder, size=size, seed=seed, visibility=visibility)
    done = len(samples) - len(missing)
    with Progress(len(samples), "simulated cells", "samples", done) as progress:
        for _ in parallel.run(draw, tasks, workers, progress):
            pass
    _write_tables(folder, samples, seed)


def draw_sample(sample: Sample, size: int, seed: int, visibility: float = 1.0) -> np.ndarray:
    """Draw one sample.

    Returns
    -------
    ndarray of shape (H, W, K), uint8
        Channels red, green, blue, yellow.
    """
    return _draw(sample, describe_antibody(sample.labels, seed, sample.antibody), size, seed, visibility)


def class_gallery(size: int, seed: int) -> list[tuple[str, np.ndarray]]:
    """Draw one simulated example of every class: the class alone, bright and in all of the cells.

    Returns
    -------
    list of (str, ndarray of shape (H, W, K), uint8)
        Class name and its image, channels red, green, blue, yellow, in Kaggle's class order.
    """
    gallery = []
    for number, name in enumerate(CLASSES):
        sample = Sample(number, name, "train", number, (number,), 0, 0)
        antibody = describe_antibody(sample.labels, seed, number)
        antibody = antibody._replace(active=1.0, spread=0.25, brightness=1.0, background=0.05)
        gallery.append((name, _draw(sample, antibody, size, seed, 1.0, stains_brightness=0.5)))
    return gallery


def _draw(
    sample: Sample, antibody: Antibody, size: int, seed: int, visibility: float,
    stains_brightness: float | None = None,
) -> np.ndarray:  # fmt: skip
    rng = np.random.default_rng([seed, 3, sample.number])
    scene_seed = (seed, 4, sample.antibody, sample.scene)
    field = _make_scene(sample, antibody.lines[sample.line], size, visibility, scene_seed, rng)
    active = antibody.active ** (1 / visibility)
    green_HW = protein(
        field, sample.labels, antibody.weights, antibody.styles, active, antibody.spread, scene_seed
    )
    unspecific_HW = field.thickness_HW * (0.8 + 0.3 * field.canvas.noise(rng, 2.0))
    green_HW += antibody.background / visibility * unspecific_HW
    stains = {"red": field.red_HW, "green": green_HW, "blue": field.blue_HW, "yellow": field.yellow_HW}
    exposures = camera.TRAIN if sample.split == "train" else camera.TEST
    shot, common = camera.take_shot(rng, visibility), rng.normal()
    faintest = FAINTEST + 2 * np.log2(visibility)
    image_HWK = np.empty((size, size, len(CHANNELS)), np.uint8)
    for k, name in enumerate(CHANNELS):
        brightness = 0.6 * common + 0.8 * rng.normal()
        if name == "green":  # belongs to the antibody
            brightness = max(antibody.brightness + 0.15 * brightness, faintest)
        elif stains_brightness is not None:
            brightness = stains_brightness
        image_HWK[..., k] = camera.record(stains[name], field.canvas, exposures[name], brightness, shot, rng)
    return image_HWK


def _make_scene(
    sample: Sample, line: str, size: int, visibility: float, seed: tuple[int, ...], rng: np.random.Generator
) -> Field:
    """Grow the cells of a sample; images of the same scene differ by a small move of the view."""
    chance = np.random.default_rng([*seed, 0])
    mitotic, pairs = (
        int(chance.integers(1, 4)) if label in sample.labels else int(chance.uniform() < DIVIDING_SHARE)
        for label in (SPINDLE, BRIDGE)
    )
    x, y = rng.uniform(-REACH, REACH, 2)
    return make_field(line, size, visibility**0.5, seed, mitotic=mitotic, pairs=pairs, origin=(x, y))


def _paths(folder: Path, sample: Sample) -> list[Path]:
    return [folder / sample.split / f"{sample.id}_{name}.png" for name in CHANNELS]


def _write_chunk(samples: list[Sample], *, folder: Path, size: int, seed: int, visibility: float) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        for sample in samples:
            image_HWK = draw_sample(sample, size, seed, visibility)
            for k, path in enumerate(_paths(folder, sample)):
                settings = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
                _, code = cv2.imencode(".png", np.ascontiguousarray(image_HWK[..., k]), settings)
                with files.write_atomic(path) as part:
                    part.write_bytes(code.tobytes())
    finally:
        cv2.setNumThreads(threads)


def _write_tables(folder: Path, samples: list[Sample], seed: int) -> None:
    rows = sorted(samples, key=lambda sample: sample.id)
    target = {s.id: " ".join(map(str, s.labels)) for s in rows}
    usage = {
        s.id: "Train" if s.split == "train" else "Public" if public_part(s, seed) else "Private" for s in rows
    }
    tables = {
        "train.csv": (("Id", "Target"), [(s.id, target[s.id]) for s in rows if s.split == "train"]),
        "sample_submission.csv": (("Id", "Predicted"), [(s.id, "0") for s in rows if s.split == "test"]),
        "solution.csv": (
            ("Id", "Target", "Usage", "Antibody"),
            [(s.id, target[s.id], usage[s.id], s.antibody) for s in rows],
        ),
    }
    for name, (columns, values) in tables.items():
        files.write_text(folder / name, pd.DataFrame(values, columns=columns).to_csv(index=False))
