"""What the scripts share: options, the start of a run, and how a script ends."""

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lib import console, datasets, machine, presets, signals
from lib.config import describe_settings
from lib.distributed import RANK, WORLD, is_primary
from lib.errors import UserError
from lib.names import check_name
from lib.run import Invocation, Run

ROOT = Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
MAX_WORKERS = max(4 * CORES, 16)  # more than cores may help with slow disks, many more only use up memory


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all stages share; a script may add its own."""
    result = argparse.ArgumentParser(
        description=description,
        epilog=presets.describe() + "\n\n--settings lists every field that --set accepts.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add(
        "--preset",
        help="settings to start from; default: those of the run, or strong if data/train.csv exists, or demo",
    )
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="[TARGET:]SECTION.FIELD=VALUE",
        help="override settings of the preset; with a target, of one network: baseline:training.epochs=5",
    )
    add("--settings", action="store_true", help="print every setting, its value and its meaning, and exit")
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
        default=CORES,
        metavar="N",
        help="number of processes; default: one per core",
    )
    add(
        "--dask",
        metavar="ADDRESS",
        help="send the parallel work of 00 and 01 to this Dask scheduler instead",
    )
    add("--force", action="store_true", help="replace existing results, also those of other settings")
    add("--quiet", action="store_true", help="print only warnings, errors and the last line")
    return result


def network_parser(description: str) -> argparse.ArgumentParser:
    """Return `parser` with the options of the stages that train networks."""
    result = parser(description)
    result.add_argument("--network", nargs="+", metavar="NAME", help="train only these; default: all")
    return result


def start(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> Run:
    """Parse the command line and return the run that it selects.

    Without ``--preset``, an existing run continues with the preset, overrides and data it was started with,
    and one that merges others starts with those of the first.
    """
    options = parser.parse_args(argv)
    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: expected at least 1")
    if options.run is not None:
        check_name(options.run, "--run")
    if options.workers > MAX_WORKERS:
        console.warn(f"--workers {options.workers}: {MAX_WORKERS} processes are used for {CORES} cores")
        options.workers = MAX_WORKERS
    work = options.work.resolve()
    work = work.relative_to(Path.cwd()) if work.is_relative_to(Path.cwd()) else work
    preset = options.preset or ("strong" if (work / "data" / "train.csv").exists() else "demo")
    folder = work / "outputs" / (options.run or preset)
    overrides, data, started = options.set, options.data, folder
    if getattr(options, "merge", None) and not (folder / "run.json").exists():
        started = folder.with_name(check_name(options.merge[0], "--merge"))
    if not options.preset and (started / "run.json").exists():
        known = Invocation.read(started)
        # the last of several values of a setting counts
        preset, overrides = known.preset, [one for one in known.set if one not in overrides] + overrides
        data = data or (known.data and work / known.data)
    config = presets.load(preset, overrides)
    if options.settings:
        console.last_line(describe_settings(config))
        raise SystemExit(0)
    generates_data = data is None and bool(config.simulation.name)
    source = data or work / "data" / config.simulation.name
    name = config.simulation.name if generates_data else source.resolve().name if data else "kaggle"
    cache = datasets.find_cache(work / "data" / "cache", name or "kaggle", datasets.portable(source, work))
    invocation = Invocation(preset, overrides, datasets.portable(data, work) if data else None)
    console.quiet = options.quiet
    script, summary = parser.prog.removesuffix(".py"), _summary(parser.description)
    console.info(f"== {script}: {summary} (preset {preset}, {source} -> {folder})")
    return Run(config, invocation, source, generates_data, cache, folder, options)


def _summary(docstring: str) -> str:
    """Return the first sentence of a script's docstring, without the stage's number."""
    sentence = re.match(r"(?:Stage \d\d: )?(.+?)\.\s", docstring, flags=re.DOTALL)[1]
    return " ".join(sentence.split())


def run(main: Callable[[], str | None]) -> None:
    """Call a script's `main`; a `UserError` ends it with one line and exit code 2.

    The string that `main` returns, where the results are and what to do next, is printed last, also with
    ``--quiet``.
    """
    name = Path(sys.argv[0]).stem
    rank = f" (rank {RANK})" if WORLD > 1 else ""
    signals.raise_interrupts()
    console.prepare_streams()
    started = time.monotonic()
    try:
        try:
            last_line = main()
        finally:
            console.flush()  # what --help has printed
        console.info(f"{name}: done in {console.format_seconds(time.monotonic() - started)}")
        if last_line:
            console.last_line(last_line)
    except (UserError, OSError, RuntimeError, MemoryError) as error:
        line = str(error) if isinstance(error, UserError) else machine.explain(error)
        if line is None:
            raise
        console.error(f"{name}{rank}: {line}")
        sys.exit(2)
    except KeyboardInterrupt as interrupt:
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        if is_primary() and not console.unread:
            again = "the same command" + (" without --force" if "--force" in sys.argv else "")
            console.error(f"{name}: interrupted; finished work is kept, and {again} resumes from there")
        sys.exit(128 + (signal.SIGPIPE if console.unread else number))
