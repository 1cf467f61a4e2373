"""What a folder of images contains: its samples, and where the images may be if it contains none."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from lib.data.image_files import SUFFIXES, split_name
from lib.errors import UserError
from lib.labels import CHANNELS

ARCHIVES = (".zip", ".7z", ".tar", ".gz", ".tgz", ".rar", ".xz", ".bz2")
MAX_SEARCHED = 100  # subfolders that are looked into
IGNORED = {"thumbs.db", "desktop.ini"}  # the hidden files of Windows


def list_channels(folder: Path) -> tuple[dict[str, set[str]], list[str]]:
    """List the images in a folder; hidden files are ignored.

    Returns
    -------
    channels : dict of set of str
        Channels of every sample, by id.
    others : list of str
        Names of images that belong to no sample; pictures whose names begin with a sample's id do.

    Raises
    ------
    UserError
        If the folder cannot be listed.
    """
    channels: dict[str, set[str]] = {}
    others = []
    for name in _names(folder):
        split = split_name(name)
        if split:
            channels.setdefault(split[0], set()).add(split[1])
        elif Path(name).suffix.lower() in SUFFIXES:
            others.append(name)
    for sample in [sample for sample, found in channels.items() if _is_merged(sample, found)]:
        others += [f"{sample}_{channel}" for channel in sorted(channels.pop(sample))]
    return channels, sorted(name for name in others if not _begins_with_sample(name, channels))


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
        count = "1 file, " if len(names) == 1 else f"{len(names):,} files, such as "
        found = f"it contains {count}{names[0]!r}" if names else "it is empty"
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
