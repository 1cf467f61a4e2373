"""Simulated samples in Kaggle's layout: a substitute where the real images are unavailable."""

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib import files, parallel, steps
from lib.config import Simulation
from lib.console import Progress, info
from lib.data import kaggle, opencv
from lib.errors import UserError
from lib.labels import CHANNELS, CLASSES
from lib.simulation import camera
from lib.simulation.antibodies import (
    DIVIDING_PROBABILITY,
    Antibody,
    PlannedSample,
    describe_antibody,
    is_public,
    plan_samples,
)
from lib.simulation.canvas import MAX_SHIFT
from lib.simulation.field import Field, make_field
from lib.simulation.proteins import draw_protein

CHUNK = 16  # samples per task of a process
PNG_COMPRESSION = 1  # stronger compression takes longer than the drawing
FAINTEST = -3.0  # brightness of the faintest proteins, standard deviations from the median
BRIDGE, SPINDLE = CLASSES.index("Cytokinetic bridge"), CLASSES.index("Mitotic spindle")


def ensure_dataset(folder: Path, settings: Simulation, workers: int, force: bool) -> None:
    """Write the simulated data set that the settings describe, unless it exists.

    Parameters
    ----------
    folder : Path
        ``data/<name>``.
    settings : Simulation
    workers : int
        Number of processes.
    force : bool
        Replace samples that were simulated with other settings, instead of raising.

    Raises
    ------
    UserError
        If the folder contains samples with other settings, or files that were not simulated, or if another
        process is writing there.
    """
    step = steps.Step(
        name="simulated data set",
        manifest=folder / "simulation.json",
        settings={f"simulation.{key}": value for key, value in asdict(settings).items()},
        inputs={},
        outputs=[folder / "train.csv"],
        script="00_prepare.py --force",  # a folder without the manifest is taken for somebody's own
        alternative="--set simulation.name=NAME keeps both",
    )
    with files.lock(folder):
        _remove_other_samples(folder, step, force)
        if step.up_to_date():
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
    info(f"simulated {total:,} samples of {settings.size} px in {folder}")


def write_dataset(
    folder: Path, *, train_samples: int, test_samples: int, size: int, seed: int, workers: int,
    visibility: float = 1.0,
) -> None:  # fmt: skip
    """Write simulated samples in Kaggle's layout, with the labels that Kaggle would withhold.

    Writes ``train/{id}_{channel}.png`` and ``test/...`` (8-bit grayscale, size x size; channels red, green,
    blue, yellow), then ``train.csv`` (Id, Target), ``sample_submission.csv`` (Id, Predicted) and
    ``solution.csv`` (Id, Target, Usage, Antibody) with all samples; Usage is Train, Public or Private.
    Samples whose four files exist are not drawn again, so an interrupted run resumes. For the label sets and
    the minimum number of samples per class, see `lib.simulation.antibodies.plan_samples`.

    Parameters
    ----------
    folder : Path
        Created if missing.
    train_samples, test_samples : int
        Number of samples in each split.
    size : int
        Side of the images in pixels; affects only the sampling, not the content of the fields.
    seed : int
        Determines every byte.
    workers : int
        Number of processes; the files do not depend on it.
    visibility : float
        1 is realistic. Larger values make patterns easier to see, for small images and short demonstrations:
        the field is magnified by the square root; noise, background light and unspecific staining are divided
        by it; more of the cells show a pattern (the fraction is raised to the power of the inverse); and the
        faintest proteins are brightened (by 2 standard deviations per doubling).
    """
    samples = plan_samples(train_samples, test_samples, seed)
    for split in kaggle.SUBSETS:
        files.make_folder(folder / split)
    missing = [s for s in samples if not all(path.exists() for path in _image_paths(folder, s))]
    chunks = [missing[k : k + CHUNK] for k in range(0, len(missing), CHUNK)]
    write_chunk = partial(_write_chunk, folder=folder, size=size, seed=seed, visibility=visibility)
    done = len(samples) - len(missing)
    with Progress(len(samples), "simulated cells", "samples", done) as progress:
        for _ in parallel.run(write_chunk, chunks, workers, progress):
            pass
    _write_tables(folder, samples, seed)


def draw_sample(sample: PlannedSample, size: int, seed: int, visibility: float = 1.0) -> np.ndarray:
    """Draw one sample; parameters as in `write_dataset`.

    Returns
    -------
    ndarray of shape (H, W, K), uint8
        Channels red, green, blue, yellow.
    """
    return _draw(sample, describe_antibody(sample.labels, seed, sample.antibody), size, seed, visibility)


def class_gallery(size: int, seed: int) -> list[tuple[str, np.ndarray]]:
    """Draw one example of every class: a protein with this class alone, bright and in all cells.

    Returns
    -------
    list of (str, ndarray of shape (H, W, K), uint8)
        Class name and image, channels red, green, blue, yellow, in Kaggle's class order.
    """
    gallery = []
    for number, name in enumerate(CLASSES):
        sample = PlannedSample(number, name, "train", number, (number,), 0, 0)
        antibody = describe_antibody(sample.labels, seed, number)._replace(
            positive_fraction=1.0, brightness_std=0.25, brightness=1.0, background=0.05
        )
        gallery.append((name, _draw(sample, antibody, size, seed, 1.0, reference_brightness=0.5)))
    return gallery


def _draw(
    sample: PlannedSample, antibody: Antibody, size: int, seed: int, visibility: float,
    reference_brightness: float | None = None,
) -> np.ndarray:  # fmt: skip
    """Draw one sample; the brightness of the three reference stains is random unless it is given."""
    rng = np.random.default_rng([seed, 3, sample.number])
    scene_seed = (seed, 4, sample.antibody, sample.scene)
    field = _make_scene(sample, antibody.lines[sample.line], size, visibility, scene_seed, rng)
    stains = {
        "red": field.red_HW,
        "green": _draw_green(field, sample.labels, antibody, visibility, scene_seed, rng),
        "blue": field.blue_HW,
        "yellow": field.yellow_HW,
    }
    exposures = camera.TRAIN if sample.split == "train" else camera.TEST
    acquisition, common = camera.draw_acquisition(rng, visibility), rng.normal()
    faintest = FAINTEST + 2 * np.log2(visibility)
    image_HWK = np.empty((size, size, len(CHANNELS)), np.uint8)
    for k, name in enumerate(CHANNELS):
        brightness = 0.6 * common + 0.8 * rng.normal()
        if name == "green":  # mostly determined by the antibody
            brightness = max(antibody.brightness + 0.15 * brightness, faintest)
        elif reference_brightness is not None:
            brightness = reference_brightness
        image_HWK[..., k] = camera.record_channel(
            stains[name], field.canvas, exposures[name], brightness, acquisition, rng
        )
    return image_HWK


def _make_scene(
    sample: PlannedSample, line: str, size: int, visibility: float, scene_seed: tuple[int, ...],
    rng: np.random.Generator,
) -> Field:  # fmt: skip
    """Grow the cells of a sample; images of the same scene differ by a small shift of the view."""
    scene_rng = np.random.default_rng([*scene_seed, 0])
    mitotic, daughter_pairs = (
        int(scene_rng.integers(1, 4))
        if label in sample.labels
        else int(scene_rng.uniform() < DIVIDING_PROBABILITY)
        for label in (SPINDLE, BRIDGE)
    )
    x, y = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
    return make_field(
        line, size, visibility**0.5, scene_seed, mitotic=mitotic, daughter_pairs=daughter_pairs, origin=(x, y)
    )


def _draw_green(
    field: Field, labels: tuple[int, ...], antibody: Antibody, visibility: float,
    scene_seed: tuple[int, ...], rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Draw the protein and the unspecific staining of its antibody."""
    positive_fraction = antibody.positive_fraction ** (1 / visibility)
    green_HW = draw_protein(
        field, labels, antibody.weights, antibody.styles, positive_fraction, antibody.brightness_std,
        scene_seed,
    )  # fmt: skip
    unspecific_HW = field.thickness_HW * (0.8 + 0.3 * field.canvas.noise(rng, 2.0))
    green_HW += antibody.background / visibility * unspecific_HW
    return green_HW


def _image_paths(folder: Path, sample: PlannedSample) -> list[Path]:
    return [folder / sample.split / f"{sample.id}_{name}.png" for name in CHANNELS]


def _remove_other_samples(folder: Path, step: steps.Step, force: bool) -> None:
    """Remove samples with other settings, or raise unless `force`; raise for files that are not ours."""
    if not step.manifest.exists():
        if (folder / "train.csv").exists():
            raise UserError(
                f"{folder} contains files that were not simulated here: choose another folder with "
                f"--set simulation.name=NAME"
            )
    elif not step.matches(force):
        step.manifest.unlink()
        for split in kaggle.SUBSETS:
            shutil.rmtree(folder / split, ignore_errors=True)


def _write_chunk(
    samples: list[PlannedSample], *, folder: Path, size: int, seed: int, visibility: float
) -> None:
    compression = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
    with opencv.single_thread():
        for sample in samples:
            image_HWK = draw_sample(sample, size, seed, visibility)
            for k, path in enumerate(_image_paths(folder, sample)):
                _, encoded = cv2.imencode(".png", np.ascontiguousarray(image_HWK[..., k]), compression)
                with files.write_atomic(path) as temporary:
                    temporary.write_bytes(encoded.tobytes())


def _write_tables(folder: Path, samples: list[PlannedSample], seed: int) -> None:
    table = pd.DataFrame(
        {
            "Id": [sample.id for sample in samples],
            "Target": [" ".join(map(str, sample.labels)) for sample in samples],
            "Usage": [_usage(sample, seed) for sample in samples],
            "Antibody": [sample.antibody for sample in samples],
        }
    ).sort_values("Id")
    is_train = table["Usage"] == "Train"
    tables = {
        "train.csv": table.loc[is_train, ["Id", "Target"]],
        "sample_submission.csv": table.loc[~is_train, ["Id"]].assign(Predicted="0"),
        "solution.csv": table,
    }
    for name, content in tables.items():
        files.write_text(folder / name, content.to_csv(index=False))


def _usage(sample: PlannedSample, seed: int) -> str:
    if sample.split == "train":
        return "Train"
    return "Public" if is_public(sample, seed) else "Private"
