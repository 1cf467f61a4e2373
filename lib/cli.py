"""What every numbered script starts from: its options, its run's folders, its clear ending."""

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from lib import console, files, parallel, presets
from lib.config import Config, describe_settings
from lib.errors import UserError
from lib.ranks import LEADS

ROOT = Path(__file__).resolve().parent.parent

# what `begin` found in each folder that the stage may write to, for `run` to say what it wrote
_before: dict[Path, dict[str, tuple[int, int]]] = {}


@dataclass(frozen=True)
class Run:
    """One run: the settings, and where everything of it lies.

    Attributes
    ----------
    config : Config
        The preset with the overrides of the command line.
    begun : dict
        Preset, overrides and data folder by name.
    source : Path
        The folder in Kaggle's layout that is read.
    simulated : bool
        Whether that folder is our own simulation.
    cache : Path
        ``data/cache/<dataset>``: what does not depend on a run's choices.
    folder : Path
        ``outputs/<run>``.
    options : argparse.Namespace
        The whole command line.
    """

    config: Config
    begun: dict[str, Any]
    source: Path
    simulated: bool
    cache: Path
    folder: Path
    options: argparse.Namespace

    def of_network(self, name: str) -> "Run":
        """Return this run with the settings of one of the networks of stage 02."""
        return replace(self, config=self.config.of_network(name))

    def of_part(self, name: str) -> "Run":
        """Return this run with the settings of one of the hierarchy's networks, of stage 03."""
        return replace(self, config=self.config.of_part(name))

    def chosen(self, known: Iterable[str]) -> list[str]:
        """Return which of the known networks ``--network`` names, or all.

        Raises
        ------
        UserError
            If one is not known.
        """
        known = list(known)
        for name in self.options.network or ():
            if name not in known:
                raise UserError(f"--network {name}: preset {self.config.name} has {' '.join(known)}")
        return self.options.network or known

    @property
    def workers(self) -> int:
        """Number of processes."""
        return self.options.workers

    @property
    def force(self) -> bool:
        """Whether to make again what is there."""
        return self.options.force

    def remember(self, members: list[str] | None = None) -> None:
        """Write down what the run was begun with, so that later stages need only ``--run NAME``.

        Parameters
        ----------
        members : list of str, or None
            The runs that it joins.
        """
        joined = {"join": members} if members else {}
        files.write_json(self.folder / "run.json", self.begun | joined)

    @property
    def members(self) -> list[str]:
        """Names of the runs that this one joins, if any."""
        path = self.folder / "run.json"
        return files.read_json(path).get("join", []) if path.exists() else []

    def sibling(self, name: str) -> "Run":
        """Return another run on the same images, as it was begun."""
        folder = self.folder.parent / name
        begun = files.read_json(files.require(folder / "run.json", "00_prepare.py"))
        return replace(self, config=presets.load(begun["preset"], begun["set"]), begun=begun, folder=folder)

    @property
    def index(self) -> Path:
        """Where the list of all samples is."""
        return self.cache / "index.csv"

    @property
    def split(self) -> Path:
        """Where the subsets are."""
        return self.folder / "split.csv"

    @property
    def statistics(self) -> Path:
        """Where the classes and channel statistics are."""
        return self.folder / "statistics.json"

    @property
    def bad_images(self) -> Path:
        """Where the list of unusable images is, if there are any."""
        return self.cache / "bad_images.csv"

    def network(self, name: str) -> Path:
        """Where a network's weights and history are."""
        return self.folder / "networks" / name

    def array(self, subset: str, size: int) -> Path:
        """Where the cached array of train or test is."""
        return self.cache / f"{subset}_{size}"

    @property
    def features(self) -> Path:
        """Where the table of biological features is."""
        chosen = self.config.features
        return (
            self.cache
            / f"features_{self.config.feature_size}_{chosen.denoise}_{chosen.columns}"
            / "features.csv"
        )

    def figure(self, name: str) -> Path:
        """Where a figure is."""
        return self.folder / "figures" / f"{name}.png"

    def predictions(self, predictor: str, subset: str) -> Path:
        """Where a prediction table is."""
        return self.folder / "predictions" / predictor / f"{subset}.npz"

    def thresholds(self, predictor: str) -> Path:
        """Where a predictor's thresholds are."""
        return self.folder / "thresholds" / f"{predictor}.json"

    def evaluation(self, predictor: str, name: str) -> Path:
        """Where a table of a predictor's evaluation is."""
        return self.folder / "evaluation" / f"{predictor}_{name}.csv"

    @property
    def report(self) -> Path:
        """Where the page that shows the run is."""
        return self.folder / "report.html"

    @property
    def shared_manifests(self) -> list[Path]:
        """Manifests of the work of stage 00 that this run shares with others."""
        arrays = [self.array(subset, size) for subset in ("train", "test") for size in self.config.data.sizes]
        paths = [self.source / "simulation.json", *(array / "array.json" for array in arrays)]
        return [path for path in paths if path.exists()]

    @property
    def on_simulated(self) -> bool:
        """Whether the data are simulated, be they this run's own or named with --data."""
        return self.simulated or (self.source / "simulation.json").exists()

    @property
    def data_name(self) -> str:
        """What the data are, for titles of figures."""
        return "simulated cells" if self.on_simulated else f"images of {self.source.resolve().name}/"

    @property
    def solution(self) -> Path:
        """Where the answers that Kaggle keeps are, for simulated cells."""
        return self.source / "solution.csv"

    def engine(self) -> AbstractContextManager[None]:
        """Send what is done in several processes to the Dask cluster that the command line names."""
        return parallel.dask(self.options.dask)

    def hold(self, shared: bool = False) -> AbstractContextManager[None]:
        """Keep other processes out of this run's folder; shared: but those that share it too."""
        return files.lock(self.folder, shared)

    def manifest(self, step: str) -> Path:
        """Where the manifest of a step is."""
        return self.folder / "manifests" / f"{step.replace(' ', '_')}.json"

    def step(self, name: str, groups: list[str], inputs: dict[str, str], outputs: list[Path]) -> files.Step:
        """Describe a step of this run that depends on groups of settings and on inputs."""
        settings = {key: value for group in groups for key, value in self.config.group(group).items()}
        return files.Step(name, self.manifest(name), settings, inputs, outputs)


def prints(*paths: Path, folders: bool = False) -> dict[str, str]:
    """Return fingerprints of files by name, or by folder and name, as inputs of a step."""
    return {
        f"{path.parent.name}/{path.name}" if folders else path.name: files.fingerprint_file(path)
        for path in paths
    }


def parser(description: str) -> argparse.ArgumentParser:
    """Return the options that all stages share; a script may add its own."""
    result = argparse.ArgumentParser(
        description=description,
        epilog=presets.describe() + "\n\n--settings lists every field that --set takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add(
        "--preset",
        help="settings to start from; default: the run's own, else strong where data/train.csv is, else demo",
    )
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="GROUP.FIELD=VALUE",
        help="change settings of the preset",
    )
    add("--settings", action="store_true", help="print every setting, its value and its meaning, and end")
    add("--run", metavar="NAME", help="name of the folder in outputs/; default: the preset's name")
    add(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="folder with Kaggle's files; default: data/, or the preset's simulated cells",
    )
    add(
        "--work",
        type=Path,
        default=ROOT,
        metavar="FOLDER",
        help="folder that holds data/ and outputs/; default: the project's",
    )
    add(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        metavar="N",
        help="processes; default: one a core",
    )
    add(
        "--dask",
        metavar="ADDRESS",
        help="send the processes' work of 00 and 01 to this Dask scheduler instead",
    )
    add("--force", action="store_true", help="make again what is there, also with other settings")
    add("--quiet", action="store_true", help="print only warnings, errors and, at the very end, what is next")
    return result


def network_parser(description: str) -> argparse.ArgumentParser:
    """Return `parser` with the options of the stages that train networks."""
    result = parser(description)
    result.add_argument("--network", nargs="+", metavar="NAME", help="which of the networks; default: all")
    result.add_argument(
        "--parallel",
        type=int,
        default=1,
        metavar="N",
        help="train N networks at once, each in a process and on a GPU of its own; default: one by one",
    )
    # one of the processes of --parallel: the first one speaks for the stage
    result.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    return result


def begin(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> Run:
    """Read the command line and say which run it is.

    Without ``--preset`` it goes on with what the run was begun with, if there is such a run.
    """
    options = parser.parse_args(argv)
    for name in ("workers", "parallel"):
        if getattr(options, name, 1) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: expected at least 1")
    for name in filter(None, (options.run, options.preset)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UserError(f"{name!r} is no name for a run or preset: expected letters, digits and . _ -")
    work = options.work.resolve()
    work = work.relative_to(Path.cwd()) if work.is_relative_to(Path.cwd()) else work
    preset = options.preset or ("strong" if (work / "data" / "train.csv").exists() else "demo")
    folder = work / "outputs" / (options.run or preset)
    overrides, data = options.set, options.data
    if not options.preset and (folder / "run.json").exists():
        begun = files.read_json(folder / "run.json")
        preset, overrides = begun["preset"], begun["set"] + overrides
        data = data or (begun["data"] and Path(begun["data"]))
    settings = presets.load(preset, overrides)
    if options.settings:
        print(describe_settings(settings))
        raise SystemExit(0)
    simulated = data is None and bool(settings.simulation.name)
    source = data or work / "data" / settings.simulation.name
    dataset = settings.simulation.name if simulated else source.resolve().name if data else "kaggle"
    begun = {"preset": preset, "set": overrides, "data": str(data.resolve()) if data else None}
    cache = work / "data" / "cache" / dataset
    console.quiet = options.quiet
    result = Run(settings, begun, source, simulated, cache, folder, options)
    if LEADS and not options.quiet and not getattr(options, "within", False):
        name, purpose = parser.prog.removesuffix(".py"), _purpose(parser.description)
        console.say(f"== {name}: {purpose} (preset {preset}, {source} -> {folder})")
        _before.update(_states(result))
    return result


def _purpose(docstring: str) -> str:
    """Return the first sentence of a script's docstring, behind the stage's number."""
    return " ".join(re.match(r"Stage \d\d: (.+?)\.\s", docstring, flags=re.DOTALL)[1].split())


def _states(run: Run) -> dict[Path, dict[str, tuple[int, int]]]:
    """Return the state of all files of the folders that a stage may write to."""
    # tens of thousands of simulated images are looked at only where they are still to be made
    makes_images = run.simulated and not (run.source / "train.csv").exists()
    folders = ([run.source] if makes_images else []) + [run.cache, run.folder]
    return {folder: files.file_states(folder) for folder in folders}


def _written() -> str:
    """Say how much was written to which folder since the stage began."""
    sizes = {}
    for folder, before in _before.items():
        states = files.file_states(folder).items()
        sizes[folder] = sum(state[1] for path, state in states if before.get(path) != state)
    said = [f"{console.format_bytes(size)} in {folder}" for folder, size in sizes.items() if size]
    return f"wrote {', '.join(said)}" if said else "nothing new to write"


def run(main: Callable[[], str | None]) -> None:
    """Run a script's `main`; what the user can mend ends it with one line and exit code 2.

    What `main` returns, where the results are and what to do with them, is the last line, also when quiet.
    """
    name = Path(sys.argv[0]).stem
    signal.signal(signal.SIGTERM, _terminate)
    started = time.monotonic()
    try:
        next_step = main()
    except UserError as error:
        if LEADS:
            print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as interrupt:
        if LEADS:
            print(
                f"{name}: interrupted; what is finished is kept, the same command goes on from there",
                file=sys.stderr,
            )
        sys.exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT))
    if _before:
        seconds = console.format_seconds(time.monotonic() - started)
        console.say(f"{name}: done in {seconds}; {_written()}")
    if next_step and LEADS:
        print(next_step, flush=True)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal_number)
