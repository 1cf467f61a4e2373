"""Which folder in ``data/cache/`` belongs to which data set: by content, wherever the images are.

``data/cache/<dataset>/dataset.json`` holds a fingerprint of the data set and the folders where stage 00 found
it. Thus a data set that was moved, renamed or mounted elsewhere keeps its cache, and another one whose folder
has the same name gets a cache of its own.
"""

import itertools
from pathlib import Path
from typing import Any

from lib import files
from lib.errors import UserError


def portable(folder: Path, work: Path) -> str:
    """Return a folder as text: relative to `work` if it lies in there, so that both can be moved together."""
    folder, work = folder.resolve(), work.resolve()
    return str(folder.relative_to(work) if folder.is_relative_to(work) else folder)


def find_cache(caches: Path, name: str, source: str) -> Path:
    """Return the cache of the data set that stage 00 last found in a folder; by default that called `name`.

    Parameters
    ----------
    caches : Path
        ``data/cache``.
    source : str
        The data set's folder, as `portable` returns it.
    """
    known = [cache for cache, dataset in _datasets(caches).items() if source in dataset["sources"]]
    return min(known, key=lambda cache: cache.name != name, default=caches / name)


def claim_cache(caches: Path, name: str, source: str, fingerprint: str) -> Path:
    """Return the cache of a data set, and note there that it is; a new one is called `name`, or `name`-2 ...

    Parameters
    ----------
    fingerprint : str
        Of the data set's content. Where no cache has it, the one last used for `source` is the data set's:
        its tables or images were edited.
    """
    with files.waiting_lock(files.make_folder(caches) / ".lock"):
        known = _datasets(caches)
        last = find_cache(caches, name, source)
        same = [cache for cache, dataset in known.items() if dataset["fingerprint"] == fingerprint]
        if same:
            cache = last if last in same else same[0]
        elif last in known and source in known[last]["sources"]:
            cache = last
        else:
            others = (caches / f"{name}-{number}" for number in itertools.count(2))
            cache = next(cache for cache in itertools.chain([caches / name], others) if cache not in known)
        for other, dataset in known.items():
            if other != cache and source in dataset["sources"]:
                sources = [text for text in dataset["sources"] if text != source]
                files.write_json(other / "dataset.json", dataset | {"sources": sources})
        sources = known.get(cache, {"sources": []})["sources"]
        dataset = {"fingerprint": fingerprint, "sources": list(dict.fromkeys([*sources, source]))}
        files.write_json(files.make_folder(cache) / "dataset.json", dataset)
    return cache


def _datasets(caches: Path) -> dict[Path, dict[str, Any]]:
    """Return the contents of every ``dataset.json`` by cache; one that is damaged counts as missing."""
    found = {}
    for path in sorted(caches.glob("*/dataset.json")):
        try:
            dataset = files.read_json(path)
            found[path.parent] = {
                "fingerprint": str(dataset["fingerprint"]),
                "sources": [*dataset["sources"]],
            }
        except (UserError, KeyError, TypeError):
            continue
    return found
