"""The networks of a hierarchy: for groups of labels, and for the labels of each.

Stage 1 says of which groups a sample has labels; a stage 2 network for each group says which
(Hoogenboom 2019, section 2.3). A joint network does both at once. What they say is put together by
`lib.hierarchy.routing`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lib import location_groups
from lib.cli import Run
from lib.config import PARTS
from lib.console import say, warn
from lib.hierarchy import evaluation
from lib.learning.task import Task, of_classes
from lib.learning.training_data import Material
from lib.location_groups import Grouping


def tasks(
    run: Run, groups: Grouping, material_of: Callable[[Run], Material] | None = None
) -> dict[str, Task]:
    """Return what the settings ask to be trained, by name.

    A group has no stage 2 network where there is nothing to tell apart: fewer than two training samples,
    or the same labels on all of them. `lib.hierarchy.evaluation` gives its labels their share.
    """
    settings, networks = run.config.hierarchy, run.folder / "networks"
    material = {part: (material_of or Material.of)(run.of_part(part)) for part in PARTS}
    common = material["stage_1"]
    truth_NC, kept = common.index.truth_NC, common.classes
    groups = {group: [c for c in labels if c in kept] for group, labels in groups.items()}
    truth_NG = location_groups.membership(truth_NC, groups)
    rows = {subset: common.subsets[subset] for subset in ("train", "validation")}
    found: dict[str, Task] = {}

    def add(
        part: str,
        name: str,
        truth_NO: np.ndarray,
        rows: dict[str, np.ndarray],
        classes: list[int] | None = None,
        **more: Any,
    ) -> None:
        def table(subset: str, suffix: str) -> Path:
            if part == "joint":
                return run.predictions(name + suffix, subset)
            return evaluation.table_path(networks, name, subset, suffix)

        own = run.of_part(part), material[part]
        found[name] = Task(name, *own, truth_NO, rows["train"], rows["validation"], classes, table, **more)

    if settings.train in ("stages", "all"):
        if settings.stage_1 != "single_label":
            add("stage_1", "stage_1", truth_NG, rows)
        if settings.stage_1 != "multi_label":
            add("stage_1_single", "stage_1_single", location_groups.to_combinations(truth_NG), rows)
        first = next(iter(found)) if settings.transfer else ""
        for number, (group, labels) in enumerate(groups.items()):
            within = {subset: own[truth_NG[own, number]] for subset, own in rows.items()}
            if evaluation.is_constant(truth_NC[within["train"]][:, labels]):
                say(f"{group}: nothing to tell apart within its {len(within['train']):,} training samples")
                continue
            if not len(within["validation"]):
                warn(f"{group} has no validation sample: its networks are judged by their training samples")
                within["validation"] = within["train"]
            name = f"stage_2_{location_groups.short(group)}"
            if settings.other != "with":
                add("stage_2", name, truth_NC[:, labels], within, labels, start=first)
            if settings.other != "without":
                seed = [run.config.training.seed, number]
                chosen = {
                    subset: with_other(within[subset], own, truth_NC[:, labels], seed)
                    for subset, own in rows.items()
                }
                truth_NO = np.column_stack([truth_NC[:, labels], ~truth_NG[:, number]])
                add("stage_2", f"{name}_other", truth_NO, chosen, labels, start=first)
    if settings.train in ("joint", "all"):
        shown = {group: labels for group, labels in groups.items() if labels}
        truth_NO = np.column_stack([truth_NC[:, kept], location_groups.membership(truth_NC, shown)])
        heads = tuple(tuple(kept.index(label) for label in labels) for labels in shown.values())
        add("joint", "joint", truth_NO, rows, kept, heads=heads)
    return found


def of_predictor(name: str, run: Run, material_of: Callable[[Run], Material] | None = None) -> Task:
    """Return the task of a network that is a predictor by itself: one of stage 02, or ``joint``."""
    if name == "joint":
        return tasks(run, location_groups.read(run.config.hierarchy.grouping), material_of)[name]
    return of_classes(name, run.of_network(name), material_of or Material.of)


def with_other(within: np.ndarray, rows: np.ndarray, truth_NL: np.ndarray, seed: list[int]) -> np.ndarray:
    """Add samples with none of a group's labels, drawn at random, to those of the group.

    Their number is the mean number of samples that a label of the group has: Hoogenboom 2019,
    section 2.3, "the average of the number of samples"; or all, where there are fewer.

    Parameters
    ----------
    within, rows : ndarray of int
        Rows of the group, and all rows of the subset.
    truth_NL : ndarray of shape (N, L), bool
        The group's labels, for every row that the others can name.
    seed : list of int
        Decides the draw.

    Returns
    -------
    ndarray of int
        Ascending.
    """
    outside = rows[~truth_NL[rows].any(axis=1)]
    count = min(round(truth_NL[rows].sum(axis=0).mean()), len(outside))
    drawn = np.random.default_rng(seed).choice(outside, count, replace=False)
    return np.sort(np.concatenate([within, drawn]))
