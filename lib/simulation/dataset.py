"""Simulated samples in Kaggle's layout: a substitute where the real images are unavailable."""

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib import files, parallel, steps
from lib.console import Progress, info
from lib.data import kaggle, opencv
from lib.errors import UserError
from lib.labels import CHANNELS, CLASSES
from lib.sections import Simulation
from lib.simulation import camera
from lib.simulation.antibodies import PlannedSample, is_public, plan_samples
from lib.simulation.canvas import MAX_SHIFT
from lib.simulation.field import Field, make_field
from lib.simulation.proteins import draw_protein
from lib.simulation.staining import (
    Antibody,
    describe_antibody,
    draw_texture,
    draw_unspecific,
    saturate,
)

DIVIDING_PROBABILITY = 0.12  # that a cell divides in a field whose labels do not require it
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
            unseen=settings.unseen,
        )
        step.finish()
    total = settings.train_samples + settings.test_samples
    info(f"simulated {total:,} samples of {settings.size} px in {folder}")


def write_dataset(
    folder: Path, *, train_samples: int, test_samples: int, size: int, seed: int, workers: int,
    visibility: float = 1.0, unseen: float = 0.5,
) -> None:  # fmt: skip
    """Write simulated samples in Kaggle's layout, with the labels that Kaggle would withhold.

    Writes ``train/{id}_{channel}.png`` and ``test/...`` (8-bit grayscale, size x size; channels red, green,
    blue, yellow), then ``train.csv`` (Id, Target), ``sample_submission.csv`` (Id, Predicted),
    ``original_sides.csv`` (id, set, side in pixels of the camera's original image) and ``solution.csv`` (Id,
    Target, Usage, Antibody) with all samples; Usage is Train, Public or Private.
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
    unseen : float
        Fraction of the test set's antibodies that have no sample in train.
    """
    samples = plan_samples(train_samples, test_samples, seed, unseen)
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
        sample = PlannedSample(number, name, "train", number, (number,), 0, 0, "small")
        antibody = describe_antibody(sample.labels, seed, number)._replace(
            positive_fraction=1.0,
            brightness_std=0.25,
            brightness=1.0,
            background=0.05,
            specks=0.0,
            texture=0.0,
        )
        gallery.append((name, _draw(sample, antibody, size, seed, 1.0, reference_brightness=0.5)))
    return gallery


def _draw(
    sample: PlannedSample, antibody: Antibody, size: int, seed: int, visibility: float,
    reference_brightness: float | None = None,
) -> np.ndarray:  # fmt: skip
    """Draw one sample; the brightness of the three reference stains is random unless it is given."""
    rng = np.random.default_rng([seed, 3, sample.number])
    well_rng = np.random.default_rng([seed, 5, sample.antibody, sample.line])
    scene_seed = (seed, 4, sample.antibody, sample.scene)
    field = _make_scene(sample, antibody, size, visibility, scene_seed, rng)
    antibody = antibody._replace(
        positive_fraction=antibody.positive_fraction ** (1 / visibility),
        background=antibody.background / visibility,
    )
    stains = {
        "red": field.red_HW,
        "green": _draw_green(field, sample.labels, antibody, scene_seed),
        "blue": field.blue_HW,
        "yellow": field.yellow_HW,
    }
    recorder = camera.CAMERAS[sample.camera]
    exposures = recorder.train if sample.split == "train" else recorder.test
    acquisition = camera.draw_acquisition(recorder, visibility, well_rng, rng)
    faintest = FAINTEST + 2 * np.log2(visibility)
    image_HWK = np.empty((size, size, len(CHANNELS)), np.uint8)
    for k, name in enumerate(CHANNELS):
        brightness = acquisition.brightness[name]
        if name == "green":
            brightness *= recorder.protein
            brightness += (1 - recorder.protein**2) ** 0.5 * antibody.brightness
            brightness = max(brightness, faintest)
        elif reference_brightness is not None:
            brightness = reference_brightness
        image_HWK[..., k] = camera.record_channel(
            stains[name], field.canvas, exposures[name], brightness, acquisition, rng
        )
    return image_HWK


def _make_scene(
    sample: PlannedSample, antibody: Antibody, size: int, visibility: float, scene_seed: tuple[int, ...],
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
    recorder = camera.CAMERAS[sample.camera]
    return make_field(
        antibody.lines[sample.line], size, visibility**0.5 / recorder.field_of_view, scene_seed,
        mitotic=mitotic, daughter_pairs=daughter_pairs, origin=(x, y), density=recorder.density,
        dot_size=antibody.spot_size,
    )  # fmt: skip


def _draw_green(
    field: Field, labels: tuple[int, ...], antibody: Antibody, scene_seed: tuple[int, ...]
) -> np.ndarray:
    """Draw the protein and the unspecific staining of its antibody."""
    rng = np.random.default_rng([*scene_seed, 1])
    specific_HW = saturate(draw_protein(field, labels, antibody, scene_seed), antibody.saturation)
    return specific_HW * draw_texture(field, antibody, rng) + draw_unspecific(field, antibody, rng)


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
        # in this order, so that the next call completes what is interrupted: without its output the step is
        # unfinished, also with the old settings, and with its manifest the folder remains ours
        for path in step.outputs:
            path.unlink(missing_ok=True)
        for images in (folder / split for split in kaggle.SUBSETS):
            if images.exists():
                shutil.rmtree(images)
        step.manifest.unlink()


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
            "set": [sample.split for sample in samples],
            "side": [camera.CAMERAS[sample.camera].side for sample in samples],
        }
    ).sort_values("Id")
    is_train = table["Usage"] == "Train"
    tables = {
        "train.csv": table.loc[is_train, ["Id", "Target"]],
        "sample_submission.csv": table.loc[~is_train, ["Id"]].assign(Predicted="0"),
        "original_sides.csv": table.rename(columns={"Id": "id"})[["id", "set", "side"]].sort_values(
            ["set", "id"], ascending=[False, True]
        ),
        "solution.csv": table[["Id", "Target", "Usage", "Antibody"]],
    }
    for name, content in tables.items():
        files.write_text(folder / name, content.to_csv(index=False))


def _usage(sample: PlannedSample, seed: int) -> str:
    if sample.split == "train":
        return "Train"
    return "Public" if is_public(sample, seed) else "Private"
