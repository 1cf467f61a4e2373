"""What a folder of images contains: its samples, and where the images may be if it contains none."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from lib.console import warn
from lib.data.image_files import SUFFIXES, split_name
from lib.errors import UserError
from lib.labels import CHANNELS

ARCHIVES = (".zip", ".7z", ".tar", ".gz", ".tgz", ".rar", ".xz", ".bz2")
MAX_SEARCHED = 100  # subfolders that are looked into
IGNORED = {"thumbs.db", "desktop.ini"}  # the hidden files of Windows


def list_channels(folder: Path) -> dict[str, set[str]]:
    """Return the channels of every sample that a folder of images contains, by id.

    Warns about images that belong to no sample; pictures whose names begin with a sample's id do.

    Raises
    ------
    UserError
        If the folder cannot be listed.
    """
    found: dict[str, set[str]] = {}
    unnamed = []
    for name in _names(folder):
        split = split_name(name)
        if split:
            found.setdefault(split[0], set()).add(split[1])
        elif Path(name).suffix.lower() in SUFFIXES:
            unnamed.append(name)
    for sample in [sample for sample, channels in found.items() if _is_merged(sample, channels)]:
        unnamed += [f"{sample}_{channel}" for channel in sorted(found.pop(sample))]
    strangers = sorted(name for name in unnamed if not _begins_with_sample(name, found))
    if found and strangers:
        warn(
            f"{folder}: {len(strangers):,} image{'s' * (len(strangers) > 1)} not named after a sample and a "
            f"channel ({{id}}_red and so on) ignored, such as {strangers[0]!r}"
        )
    return found


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.name[0] != "." and e.name.lower() not in IGNORED)
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from None


def _is_merged(sample: str, channels: set[str]) -> bool:
    """Return whether this is a picture of merged channels, such as ``{id}_blue_red_green.jpg``."""
    return len(channels) < len(CHANNELS) and sample.lower().endswith(tuple(f"_{name}" for name in CHANNELS))


def _begins_with_sample(name: str, samples: dict[str, set[str]]) -> bool:
    parts = Path(name).stem.split("_")
    return any("_".join(parts[:count]) in samples for count in range(1, len(parts) + 1))


def locate(folder: Path, beside: Sequence[Path] = ()) -> str:
    """Return a phrase about where the images of a folder without images may be, and what to do.

    Parameters
    ----------
    beside : sequence of Path
        Other folders in which an archive may lie that was not unpacked.
    """
    if not os.path.lexists(folder):
        found = "it does not exist"
    elif not folder.is_dir():
        return "it is not a folder"
    else:
        names = _names(folder)
        subfolders = (path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)))
        for subfolder in islice((path for path in subfolders if path.is_dir()), MAX_SEARCHED):
            if _has_images(subfolder):
                return f"{subfolder} does: move them, or give the folder that directly contains them"
        found = f"it contains {len(names):,} files, such as {names[0]!r}" if names else "it is empty"
    for place in (folder, *beside):
        archives = (
            [name for name in _names(place) if name.lower().endswith(ARCHIVES)] if place.is_dir() else []
        )
        archives.sort(key=lambda name: not name.startswith(folder.name))  # first that of this folder
        if archives:
            return f"{found}: unpack {place / archives[0]}"
    for place in beside:
        if _has_images(place):
            return f"{found}, but {place} contains images: move them"
    return found


def _has_images(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(split_name(entry.name) for entry in entries)
    except OSError:
        return False
