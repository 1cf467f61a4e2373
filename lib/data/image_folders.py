"""What a folder of images contains: its samples, and where the images may be if it contains none."""

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from lib.data.image_files import SUFFIXES, split_name
from lib.errors import UserError
from lib.labels import CHANNELS

ARCHIVES = (".zip", ".7z", ".tar", ".gz", ".tgz", ".rar", ".xz", ".bz2")
MAX_SEARCHED = 100  # subfolders that are looked into
ENDINGS = tuple(f"_{channel}" for channel in CHANNELS)
IGNORED = {"thumbs.db", "desktop.ini"}  # the hidden files of Windows


def list_channels(folder: Path) -> tuple[dict[str, set[str]], list[str]]:
    """List the images in a folder; hidden files are ignored.

    Returns
    -------
    channels : dict of set of str
        Channels of every sample, by id.
    others : list of str
        Names of images that belong to no sample; a sample's pictures of merged channels do.

    Raises
    ------
    UserError
        If the folder cannot be listed.
    """
    found: dict[str, dict[str, str]] = {}  # a file of each channel, by sample
    others = []
    for name in _names(folder):
        split = split_name(name)
        if split:
            found.setdefault(split[0], {})[split[1]] = name
        elif Path(name).suffix.lower() in SUFFIXES:
            others.append(name)
    merged = {sample: _merged_sample(sample, found[sample]) for sample in found}
    for sample, shown in merged.items():
        if shown and (merged.get(shown) or shown not in found):
            others += found[sample].values()
    return {sample: set(names) for sample, names in found.items() if not merged[sample]}, sorted(others)


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.name[0] != "." and e.name.lower() not in IGNORED)
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from None


def _merged_sample(name: str, channels: Iterable[str]) -> str:
    """Return the sample that ``{id}_blue_red_green.jpg`` and its like show; empty for other images.

    Parameters
    ----------
    name : str
        Without the last channel.
    channels : iterable of str
        The last channels of the images of this name: of a picture of merged channels, none of those before.
    """
    sample, before = name, set()
    while sample.lower().endswith(ENDINGS):
        sample, _, channel = sample.rpartition("_")
        before.add(channel.lower())
    return sample if before.isdisjoint(channels) and sample != name else ""


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
