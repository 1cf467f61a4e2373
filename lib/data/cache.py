"""The cache: every image decoded and resized once, in arrays that several runs share.

``data/cache/<dataset>/{train,test}_<size>/`` holds an array in shards (`lib.data.shards`), which is read as a
`ShardedArray`. A shard is complete if its files are verified and it was built from the present image files;
otherwise it is built again. Thus a killed run resumes where it stopped, fixed images and damaged files
rebuild only their shard, and several processes or machines can fill one cache.
"""

import random
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from lib import files, parallel
from lib.console import Progress, format_bytes, info
from lib.data import array_locks, kaggle, sharded_array, shards
from lib.data.kaggle import BadImage
from lib.data.sample_index import SampleIndex
from lib.data.sharded_array import ShardedArray
from lib.data.shards import Shard
from lib.errors import UserError
from lib.run import Run
from lib.steps import Step

SMALLER_SIZES = (384, 256, 224, 128, 64)  # suggested where the disk is too small
COMPARED = 4  # samples of each subset whose images tell data sets with the same ids apart


def fingerprint(source: Path, index: SampleIndex) -> str:
    """Return a fingerprint of a data set: ids, labels, and the images of some samples.

    Parameters
    ----------
    source : Path
        Folder in Kaggle's layout.
    index : SampleIndex
        Its samples.
    """
    content: list = [index.train_ids, index.targets, index.test_ids]
    for subset, ids in (("train", index.train_ids), ("test", index.test_ids)):
        some = ids[:: max(len(ids) // COMPARED, 1)][:COMPARED]
        shard = Shard(source, subset, tuple(some), 0, {})
        content += [shard.images(sample) for sample in some]
    return files.fingerprint(content)


def build_dataset(run: Run, index: SampleIndex) -> set[str]:
    """Cache the images of a run's data set at all sizes, and list the bad ones.

    Returns
    -------
    set of str
        Ids of the samples that have no usable image.

    Raises
    ------
    UserError
        As `build`; or if a folder contains none of its images, or there are too many bad ones.
    """
    data, bad = run.config.data, []
    for subset, ids in index.ids.items():
        kaggle.require_images(run.source, subset, ids)
    for subset, ids in index.ids.items():
        how = dict(workers=run.workers, force=run.force, projection=data.projection)
        bad += build(run.source, run.cache, subset, ids, data.sizes, data.shard_rows, **how)
    kaggle.report_bad_images(bad, run.bad_images, data.max_bad_images, index.ids)
    return {image.id for image in bad}


def build(
    source: Path,
    cache: Path,
    subset: str,
    ids: list[str],
    sizes: tuple[int, ...],
    shard_rows: int,
    workers: int,
    force: bool = False,
    replace_others: bool = False,
    projection: str = "none",
) -> list[BadImage]:
    """Decode, resize and cache all images of a subset at all sizes; only incomplete shards are built.

    Parameters
    ----------
    source : Path
        Folder in Kaggle's layout.
    cache : Path
        Folder of the dataset's cache.
    subset : str
        train or test.
    ids : list of str, length N
        Row order of the arrays.
    force : bool
        Build every shard, also those that are complete; implies `replace_others`.
    replace_others : bool
        Replace arrays of other samples or settings, instead of raising.
    projection : str
        Of files with several pages (`image_files.PROJECTIONS`).

    Returns
    -------
    list of BadImage
        Every file that cannot be used, in the order of `ids`; the rows of their samples are black.

    Raises
    ------
    UserError
        If the disk is too small (raised before the first shard), existing arrays have other samples or
        settings, or another process is reading an array that must be written.
    """
    folders = {size: cache / f"{subset}_{size}" for size in sizes}
    steps = {size: _step(folder, size, ids, shard_rows, projection) for size, folder in folders.items()}
    outdated = {size for size, step in steps.items() if _is_outdated(step, force or replace_others)}
    forced = frozenset(sizes if force else outdated)
    every = [
        Shard(source, subset, tuple(ids[start : start + shard_rows]), number, folders, projection, forced)
        for number, start in enumerate(range(0, len(ids), shard_rows))
    ]
    every = _verify(every, workers)
    _check_disk_space(files.make_folder(cache), every, len(ids))
    written = {size for shard in every for size in shard.missing()} | outdated
    with ExitStack() as stack:
        try:
            for size in written:
                ShardedArray.unlock(folders[size])
                stack.enter_context(array_locks.hold(files.make_folder(folders[size]), "writers"))
        except UserError:
            every = _verify(every, workers)  # the readers may have completed it themselves
            if any(shard.missing() for shard in every):
                raise
        else:
            for size in outdated:
                _clear(folders[size])
            every = _build(every, steps, workers)
    for size, folder in folders.items():
        shards.write_verified(folder, {shard.name: shard.verified[size] for shard in every})
    return [image for shard in every for image in shard.bad()]


def _verify(every: list[Shard], workers: int) -> list[Shard]:
    """Verify shards as far as they or their images have changed."""
    folders = every[0].folders if every else {}
    verified = {size: shards.read_verified(folder) for size, folder in folders.items()}
    found, doubtful = {}, []
    for shard in every:
        known = replace(shard, verified={size: states.get(shard.name) for size, states in verified.items()})
        doubts = known.doubts()
        found[shard.number] = replace(known, verified=known.verified | dict.fromkeys(doubts))
        uncertain = known.at(size for size, certain in doubts.items() if not certain)
        if uncertain.folders:
            doubtful.append(uncertain)
    if doubtful:
        label = f"verifying {every[0].subset} arrays"
        with Progress(sum(map(len, doubtful)), label, "samples") as progress:
            for shard in parallel.run(shards.check, doubtful, workers, progress):
                known = found[shard.number]
                found[shard.number] = replace(known, verified=known.verified | shard.verified)
    return list(found.values())


def _build(every: list[Shard], steps: dict[int, Step], workers: int) -> list[Shard]:
    """Build what is missing, and finish the steps."""
    found = {shard.number: shard for shard in every}
    incomplete = [shard.at(shard.missing()) for shard in every if shard.missing()]
    written = {size for shard in incomplete for size in shard.folders}
    if any(steps[size].finished() for size in written):
        info(f"building {len(incomplete):,} of {len(every):,} {every[0].subset} shards again")
    unfinished = [step for size, step in steps.items() if size in written or not step.finished()]
    for step in unfinished:
        step.start()
    if incomplete:
        random.shuffle(incomplete)  # so that two processes that fill one cache rarely wait for each other
        label = f"{every[0].subset} arrays of {', '.join(map(str, steps))} px"
        rows = sum(map(len, every))
        with Progress(rows, label, "samples", done=rows - sum(map(len, incomplete))) as progress:
            for shard in parallel.run(shards.build, incomplete, workers, progress):
                known = found[shard.number]
                found[shard.number] = replace(known, verified=known.verified | shard.verified)
    for step in unfinished:
        step.finish()
    for step in steps.values():
        for lock in step.manifest.parent.glob(".*.lock"):
            lock.unlink(missing_ok=True)
    return list(found.values())


def _is_outdated(step: Step, may_replace: bool) -> bool:
    """Return whether an array has other samples or settings, or raise unless it may be replaced."""
    if step.manifest.exists() and not sharded_array.read_manifest(step.manifest):
        step.manifest.unlink()  # it is damaged; the shards have their own checks
    return step.manifest.exists() and not step.matches(may_replace)


def _clear(folder: Path) -> None:
    """Remove an array, but not the locks on it."""
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


def _step(folder: Path, size: int, ids: list[str], shard_rows: int, projection: str) -> Step:
    return Step(
        name="array",
        manifest=folder / "array.json",
        settings={"size": size, "rows": len(ids), "data.shard_rows": shard_rows}
        | ({"data.projection": projection} if projection != "none" else {}),
        inputs={"list of ids": files.fingerprint(ids)},
        outputs=[],
        alternative="--work FOLDER uses another cache",
    )


def _check_disk_space(cache: Path, every: list[Shard], rows: int) -> None:
    """Raise a `UserError` if the missing shards do not fit, as far as they do not replace others."""
    sizes, needed = list(every[0].folders) if every else [], 0
    for shard in every:
        for size in shard.missing():
            present = shards.file_state(shard.folders[size] / shard.name)
            needed += max(len(shard) * shards.row_bytes(size) - (present[0] if present else 0), 0)
    free = shutil.disk_usage(cache).free
    if needed <= free:
        return
    fitting = [size for size in SMALLER_SIZES if rows * shards.row_bytes(size) <= free and size < max(sizes)]
    smaller = f"--set data.sizes={fitting[0]} training.size={fitting[0]} fits, or " if fitting else ""
    raise UserError(
        f"{cache}: arrays with data.sizes={','.join(map(str, sizes))} need {format_bytes(needed)} more, "
        f"but only {format_bytes(free)} are free: {smaller}choose a larger disk with --work FOLDER"
    )
