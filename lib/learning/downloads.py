"""Files from the network: downloaded once, completely or not at all."""

import http.client
import re
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import torch

from lib import files
from lib.console import Progress, format_bytes, info
from lib.errors import UserError

BLOCK, TIMEOUT = 1 << 20, 30  # bytes; seconds without an answer


def is_address(text: str) -> bool:
    """Return whether a text is an address of the web, as opposed to a path."""
    return text.startswith(("https://", "http://"))


def fetch(address: str) -> Path:
    """Return the path of a file of the web, in torch hub's folder of checkpoints; download it if need be.

    Raises
    ------
    UserError
        If it cannot be downloaded completely.
    """
    name = re.sub(r"[^\w.-]+", "_", address.partition("?")[0].rpartition("/")[2])[-100:]
    # two addresses may end in the same name
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{files.fingerprint(address)[:8]}_{name}"
    if path.exists():
        return path
    info(f"  downloading {address} to {path}")
    with files.write_atomic(path, concurrent=True) as part:
        try:
            _download(address, part)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename is not None and not isinstance(error, HTTPError):
                raise  # of the disk
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise UserError(
                f"network.start={address} cannot be downloaded ({reason}): check the address and the "
                f"connection, or download it elsewhere and name the file, network.start=FILE"
            ) from None
    return path


def _download(address: str, part: Path) -> None:
    """Write what an address answers to a file; a `ValueError` if it is less than announced."""
    with closing(urlopen(address, timeout=TIMEOUT)) as answer, part.open("wb") as file:
        expected, done = int(answer.headers.get("Content-Length") or 0), 0
        with Progress(expected, "downloading", "bytes") as progress:
            while block := answer.read(BLOCK):
                file.write(block)
                done += len(block)
                progress.update(len(block))
    if done < expected:
        raise ValueError(f"it ended after {format_bytes(done)} of {format_bytes(expected)}")
