"""Steps: units of work that are done once for the same settings and inputs.

Every step has a manifest, a JSON file. It is written when the work starts, so that a killed run is
recognised, and again, marked finished, after everything else. It holds the settings that the result depends
on, fingerprints of the inputs, package versions and the duration.
"""

import importlib.metadata
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib import files
from lib.errors import UserError

PACKAGES = ("torch", "timm", "numpy", "pandas", "opencv-python-headless", "albumentations",
            "scikit-learn", "iterative-stratification")  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """Content of a step's manifest; `seconds` only once it is finished."""

    step: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    packages: dict[str, str]
    finished: bool
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path, script: str) -> "Manifest":
        """Read a manifest; a `UserError` if it is missing or damaged."""
        return files.read_json(path, script, cls)


@dataclass
class Step:
    """One unit of work.

    Parameters
    ----------
    name : str
        What messages call the step.
    manifest : Path
    settings : dict
        The settings that the result depends on by name; JSON values.
    inputs : dict of str
        Fingerprints of the inputs by name.
    outputs : list of Path
        Files that must exist for the step to be complete.
    script : str
        The script that does it, which is run again where the manifest is damaged.
    verify : callable or None
        Reads the inputs: called before an error about them, since an input that differs may be damaged.
    alternative : str
        How to keep the existing result, offered beside ``--force`` in error messages.
    """

    name: str
    manifest: Path
    settings: dict[str, Any]
    inputs: dict[str, str]
    outputs: list[Path]
    script: str = "00_prepare.py"
    verify: Callable[[], Any] | None = None
    alternative: str = "--run NAME keeps both"
    _started: float = field(default=0.0, init=False)

    def up_to_date(self, force: bool = False, rebuild: bool = False) -> bool:
        """Return whether there is nothing to do; if there is, mark the step as started.

        Parameters
        ----------
        force : bool
            Start in any case.
        rebuild : bool
            Start if the existing result has different settings or inputs, instead of raising.

        Raises
        ------
        UserError
            If the existing result has different settings or inputs, without `force` or `rebuild`.
        """
        force = force or (rebuild and self.manifest.exists() and not self.matches(force=True))
        if self.finished(force) and all(path.exists() for path in self.outputs):
            return True
        self.start()
        return False

    def finished(self, force: bool = False) -> bool:
        """Return whether the manifest is finished for these settings and inputs; raises as `matches` does."""
        if force or not self.manifest.exists() or not self.matches():
            return False
        return Manifest.read(self.manifest, self.script).finished

    def matches(self, force: bool = False) -> bool:
        """Return whether the existing result has these settings and inputs.

        Raises
        ------
        UserError
            If not, or if the manifest is damaged, unless `force`; the message names the first difference.
        """
        try:
            difference = self._difference(Manifest.read(self.manifest, self.script))
        except UserError:
            if not force:
                raise
            return False
        if difference and not force:
            if self.verify is not None:
                self.verify()
            raise UserError(
                f"{self.manifest.parent}: the existing {self.name} was made {difference}: "
                f"{self.alternative}, --force replaces it"
            )
        return not difference

    def require(self) -> None:
        """Raise a `UserError` that names the script, unless the step is finished as `finished` returns it."""
        self.alternative = f"run `python {self.script}` with these settings first; there"
        if not self.finished():
            raise UserError(f"{self.manifest}: {self.name} is not finished: run `python {self.script}` first")

    @property
    def identity(self) -> str:
        """Fingerprint of settings and inputs, which labels incomplete results such as checkpoints."""
        return files.fingerprint([self.settings, self.inputs])

    def start(self) -> None:
        """Mark the step as started for these settings and inputs."""
        self._started = time.monotonic()
        files.write_json(self.manifest, self._content(finished=False))

    def finish(self) -> None:
        """Mark the step as finished."""
        seconds = round(time.monotonic() - self._started, 2)
        files.write_json(self.manifest, self._content(finished=True, seconds=seconds))

    def _content(self, **more: Any) -> dict[str, Any]:
        return {
            "step": self.name,
            **more,
            "settings": self.settings,
            "inputs": self.inputs,
            "packages": versions(),
        }

    def _difference(self, manifest: Manifest) -> str:
        known = {"settings": (manifest.settings, self.settings), "inputs": (manifest.inputs, self.inputs)}
        for kind, (theirs, ours) in known.items():
            ours = json.loads(json.dumps(ours))  # tuples become lists, as in the file
            for key in [*ours, *(key for key in theirs if key not in ours)]:
                old, new = theirs.get(key), ours.get(key)
                if old != new:
                    return (
                        f"with {key}={_short(old)}, not {_short(new)}"
                        if kind == "settings"
                        else f"from a different {key}"
                    )
        return ""


def is_finished(manifest: Path, script: str = "") -> bool:
    """Return whether a manifest exists and is marked finished; `script` is the one that writes it."""
    return manifest.exists() and Manifest.read(manifest, script).finished


def versions() -> dict[str, str]:
    """Return the versions of the packages that affect results; empty for one that is not installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    return found


def _short(value: Any) -> str:
    return str(value).replace("[", "").replace("]", "").replace(" ", "")
