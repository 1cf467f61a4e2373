"""The step of stage 03 that combines the networks' predictions into predictors, and draws the models.

Does not load torch.
"""

from dataclasses import replace

from lib import distributed, files
from lib.console import info
from lib.data.run_data import RunData
from lib.evaluation import predictions
from lib.evaluation.predictions import Predictor
from lib.hierarchy.combination import HierarchyPredictions, trainable_classes
from lib.labels import CLASSES
from lib.names import MAIN_HIERARCHY
from lib.run import Run
from lib.steps import Step


def write_predictors(run: Run, data: RunData, script: str) -> None:
    """Combine the predictions of each hierarchy's networks into predictors, unless that is complete.

    With test-time augmentation only where the networks of both stages have it.

    Parameters
    ----------
    script : str
        The calling script, which the steps are named after.
    """
    for hierarchy in HierarchyPredictions.all_of(run, data):
        _write_predictors(run, hierarchy, script)


def _write_predictors(run: Run, hierarchy: HierarchyPredictions, script: str) -> None:
    data = hierarchy.data
    kinds = (hierarchy.stage_1_kinds[hierarchy.stage_1[0]], "stage_2")
    trainings = [run.for_hierarchy_network(kind).config.training for kind in kinds]
    views = [1, 8] if all(training.tta for training in trainings) else [1]
    combinations = hierarchy.combinations(views)
    predicted = data.predictions_with(views)
    tables = [path for number, subset in predicted for path in hierarchy.tables(subset, number)]

    def combine(_step: Step) -> None:
        for number in views if distributed.is_primary() else ():
            calibrate = hierarchy.calibration(number)
            for combination in (one for one in combinations if one.views == number):
                folder, predictor = run.predictor(combination.name), hierarchy.describe(combination)
                predictor = replace(predictor, **trainings[1].augmented_views) if number > 1 else predictor
                for _, subset in data.predictions_with([number]):
                    table = hierarchy.combine(predictor, subset, calibrate)
                    predictions.save(folder / f"{subset}.npz", table)
                predictor.write(folder)
        if distributed.is_primary():
            made = {combination.name for combination in combinations}
            others = (
                path for path in (run.folder / "predictions").glob("hierarchy*") if path.name not in made
            )
            predictions.remove_outdated(others, lambda one: _hierarchy_of(one) == hierarchy.name)
            _draw_models(run, hierarchy)

    def verify() -> None:
        for number, subset in predicted:
            hierarchy.group_predictions(hierarchy.stage_1[0], subset, number)
            for other in hierarchy.others:
                hierarchy.within_NC(hierarchy.stage_2(other), subset, number)

    done = run.once(
        f"{script} {hierarchy.name}",
        combine,
        inputs=files.fingerprints(run.index, run.split, *tables),
        outputs=[
            run.predictor(combination.name) / name
            for combination in combinations
            for name in (
                "predictor.json",
                *(f"{subset}.npz" for _, subset in data.predictions_with([combination.views])),
            )
        ],
        verify=verify,
    )
    names = ", ".join(combination.name for combination in combinations)
    info(f"predictions in {run.folder / 'predictions'}: {names}" if done else f"{names} are up to date")


def _hierarchy_of(predictor: Predictor) -> str:
    return (predictor.hierarchy or MAIN_HIERARCHY) if predictor.kind == "hierarchy" else ""


def _draw_models(run: Run, hierarchy: HierarchyPredictions) -> None:
    """Draw the first network of stage 02 and the hierarchy (Hoogenboom 2019, figure 3)."""
    from lib.figures import model_diagram  # takes half a second

    data, baseline = hierarchy.data, next(iter(run.config.networks))
    architecture = {
        kind: run.for_hierarchy_network(kind).config.network.architecture for kind in ("stage_1", "stage_2")
    }
    with_network = hierarchy.stage_2(hierarchy.others[0])
    branches = [
        model_diagram.Branch(
            group,
            architecture["stage_2"] if group in with_network else "no network",
            [CLASSES[label] for label in trainable_classes(data, group) or labels if label in data.classes],
            True in hierarchy.others and group in with_network,
        )
        for group, labels in data.groups.items()
    ]
    model_diagram.both_models(
        run.figure(f"models{hierarchy.suffix}"),
        (baseline, run.for_network(baseline).config.network.architecture, len(data.classes)),
        (hierarchy.name, architecture["stage_1"]),
        branches,
        f"A network of all classes, and a hierarchy of networks: {run.data_name}",
    )
