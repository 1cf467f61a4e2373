"""One run: its settings, and the path of everything it reads and writes."""

import argparse
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lib import datasets, distributed, files, parallel, presets
from lib.config import Config
from lib.console import info
from lib.errors import UserError, quote
from lib.names import check_name
from lib.steps import Step

CREATE = "00_prepare.py --preset PRESET"  # writes ``run.json``


@dataclass(frozen=True)
class Invocation:
    """What a run was started with: the content of ``run.json``.

    Attributes
    ----------
    preset : str
    set : list of str
        Overrides of its settings.
    data : str or None
        Kaggle's folder, if it was named; relative to that of ``--work`` if it lies in there.
    merge : list of str
        The runs that it averages.
    """

    preset: str
    set: list[str]
    data: str | None
    merge: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        presets.load(self.preset, self.set)
        if self.data is not None and ".." in Path(self.data).parts:
            raise UserError(f"data {quote(self.data)}: expected an absolute path, or one within --work")
        for name in self.merge:
            check_name(name, "merged run")

    @classmethod
    def read(cls, folder: Path) -> "Invocation":
        """Read a run's ``run.json``; a `UserError` if it is missing or damaged."""
        return files.read_json(folder / "run.json", CREATE, cls)

    def write(self, folder: Path) -> None:
        """Write a run's ``run.json``."""
        files.write_json(folder / "run.json", {k: v for k, v in asdict(self).items() if v or k != "merge"})


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes
    ----------
    config : Config
        The preset with the overrides of the command line.
    invocation : Invocation
        What the run was started with.
    source : Path
        The folder in Kaggle's layout that is read.
    generates_data : bool
        Whether that folder is the preset's own simulation.
    cache : Path
        ``data/cache/<dataset>``: everything independent of a run's choices; stage 00 finds out which it is.
    folder : Path
        ``outputs/<run>``.
    options : argparse.Namespace
        The whole command line.
    """

    config: Config
    invocation: Invocation
    source: Path
    generates_data: bool
    cache: Path
    folder: Path
    options: argparse.Namespace

    def for_network(self, name: str) -> "Run":
        """Return this run with the settings of one of the networks of stage 02."""
        return replace(self, config=self.config.for_network(name))

    def for_hierarchy_network(self, kind: str) -> "Run":
        """Return this run with the settings of one kind of the hierarchy's networks, of stage 03."""
        return replace(self, config=self.config.for_hierarchy_network(kind))

    def with_cache(self, fingerprint: str) -> "Run":
        """Return this run with the cache of the data set that has a fingerprint, which may be a new one."""
        caches = self.cache.parent
        source = datasets.portable(self.source, caches.parent.parent)
        cache = datasets.claim_cache(caches, self.cache.name, source, fingerprint)
        if cache != self.cache:
            info(f"the cache of the data set in {self.source} is {cache}")
        return replace(self, cache=cache)

    def selected(self, names: Iterable[str]) -> list[str]:
        """Return the networks that ``--network`` selects, by default all; an unknown one is a `UserError`."""
        names = list(names)
        for name in self.options.network or ():
            if name not in names:
                raise UserError(f"--network {name}: preset {self.config.name} has {' '.join(names)}")
        return self.options.network or names

    @property
    def workers(self) -> int:
        """Number of processes."""
        return self.options.workers

    @property
    def force(self) -> bool:
        """Whether to replace existing results."""
        return self.options.force

    def save_invocation(self, merge: list[str] | None = None) -> None:
        """Write ``run.json``, so that later stages need only ``--run NAME``.

        Parameters
        ----------
        merge : list of str, or None
            The runs that it averages.
        """
        replace(self.invocation, merge=merge or []).write(self.folder)

    @property
    def index(self) -> Path:
        """Table of all samples."""
        return self.cache / "index.csv"

    @property
    def split(self) -> Path:
        """Table of the subset and fold of every sample."""
        return self.folder / "split.csv"

    @property
    def sample_groups(self) -> Path:
        """Table of the group of every sample."""
        return self.folder / "sample_groups.csv"

    @property
    def statistics(self) -> Path:
        """Classes of the run, and channel statistics."""
        return self.folder / "statistics.json"

    @property
    def bad_images(self) -> Path:
        """Table of unusable images, if there are any."""
        return self.cache / "bad_images.csv"

    @property
    def duplicates(self) -> Path:
        """Table of pairs of duplicate images."""
        return self.cache / "duplicates.csv"

    def array(self, subset: str, size: int) -> Path:
        """Folder of the cached array of ``train`` or ``test``."""
        return self.cache / f"{subset}_{size}"

    @property
    def features(self) -> Path:
        """Table of biological features."""
        return self.cache / self.config.feature_folder / "features.csv"

    def network(self, name: str) -> Path:
        """Folder of a network; with folds it holds a folder for each."""
        return self.folder / "networks" / name

    def checkpoints(self, network: str) -> list[Path]:
        """Folders of a network's checkpoints: its own, or one per fold; empty if it is not trained."""
        folder = self.network(network)
        folds = self.config.split.folds
        paths = [folder / f"fold_{fold}" for fold in range(folds)] if folds > 1 else [folder]
        return [path for path in paths if (path / "weights.safetensors").exists()]

    def predictor(self, name: str) -> Path:
        """Folder of a predictor's predictions."""
        return self.folder / "predictions" / name

    def thresholds(self, predictor: str) -> Path:
        """Thresholds of a predictor."""
        return self.folder / "thresholds" / f"{predictor}.json"

    def evaluation(self, name: str) -> Path:
        """Table of the evaluation."""
        return self.folder / "evaluation" / f"{name}.csv"

    def figure(self, name: str) -> Path:
        """One of the run's figures."""
        return self.folder / "figures" / f"{name}.png"

    @property
    def submission(self) -> Path:
        """Kaggle's file."""
        return self.folder / "submission.csv"

    @property
    def report(self) -> Path:
        """The run's page."""
        return self.folder / "report.html"

    @property
    def shared_manifests(self) -> list[Path]:
        """Manifests of the results of stage 00 that several runs share."""
        arrays = [self.array(subset, size) for subset in ("train", "test") for size in self.config.data.sizes]
        paths = [self.source / "simulation.json", *(array / "array.json" for array in arrays)]
        return [path for path in paths if path.exists()]

    @property
    def is_simulated(self) -> bool:
        """Whether the data are simulated, by this preset or in a folder named with ``--data``."""
        return self.generates_data or (self.source / "simulation.json").exists()

    @property
    def data_name(self) -> str:
        """Names the data in titles of figures."""
        return "simulated cells" if self.is_simulated else f"images of {self.source.resolve().name}/"

    @property
    def solution(self) -> Path:
        """Labels of the test samples, which Kaggle withholds; present for simulated cells."""
        return self.source / "solution.csv"

    def backend(self) -> AbstractContextManager[None]:
        """Send parallel work to the Dask cluster that ``--dask`` names, if any."""
        return parallel.dask(self.options.dask)

    def lock(self, shared: bool = False) -> AbstractContextManager[None]:
        """Lock the run's folder for this process, or together with others that lock it as shared."""
        return files.lock(self.folder, shared) if distributed.is_primary() else nullcontext()

    def in_turn(self) -> AbstractContextManager[None]:
        """Wait for other processes that share the run's lock, to do in turn what each of them must."""
        lock = files.waiting_lock(self.folder / ".turn.lock")
        return lock if distributed.is_primary() else nullcontext()

    def manifest(self, step: str) -> Path:
        """Manifest of a step."""
        return self.folder / "manifests" / f"{step.replace(' ', '_').replace('/', '_')}.json"

    def step(
        self,
        name: str,
        settings: Iterable[str],
        inputs: dict[str, str],
        outputs: Iterable[Path],
        verify: Callable[[], Any] | None = None,
    ) -> Step:
        """Describe a step that depends on settings, by section or by ``section.field``, and on inputs."""
        values = {}
        for chosen in settings:
            section = self.config.section(chosen.partition(".")[0])
            values |= {chosen: section[chosen]} if chosen in section else section
        script = f"{name.split()[0]}.py"
        return Step(name, self.manifest(name), values, inputs, list(outputs), script, verify)

    def once(
        self,
        name: str,
        work: Callable[[Step], Any],
        *,
        settings: Iterable[str] = (),
        inputs: dict[str, str],
        outputs: Iterable[Path],
        rebuild: bool = False,
        verify: Callable[[], Any] | None = None,
    ) -> bool:
        """Call `work` unless it is complete for the same settings and inputs, or ``--force`` is given.

        Where several processes train together, the primary one decides and keeps the manifest.

        Parameters
        ----------
        name : str
            Names the step's manifest; starts with the script's name.
        work : callable
            Takes the `Step`.
        settings : iterable of str
            That the result depends on: a section, or one setting as ``section.field``.
        inputs : dict of str
            Fingerprints of the inputs by name.
        outputs : iterable of Path
            Files that the work writes.
        rebuild : bool
            Replace a result of other settings or inputs, instead of raising a `UserError`.
        verify : callable or None
            As `Step.verify`.

        Returns
        -------
        bool
            Whether it was called.
        """
        step = self.step(name, settings, inputs, outputs, verify)
        due = distributed.is_primary() and not step.up_to_date(self.force, rebuild)
        if not distributed.broadcast(due):
            return False
        work(step)
        if distributed.is_primary():
            step.finish()
        return True
