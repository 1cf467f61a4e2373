"""Which networks a hierarchy has, and what each of them learns from which samples."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

from lib import presets
from lib.data.run_data import Fold
from lib.errors import UserError
from lib.hierarchy import tasks
from lib.labels import CLASSES
from lib.learning import models
from tests.hierarchy.conftest import FOUR, TARGETS, run_data

WHOLE_STUDY = ["hierarchy.stage_1=both", "hierarchy.other=both"]


@pytest.fixture(autouse=True)
def no_images(monkeypatch):
    """Training data are only the samples, without images."""
    monkeypatch.setattr(tasks.TrainingData, "read", lambda _run, data: SimpleNamespace(data=data))


def run_of(changes, hierarchies=None):
    """Return a run with settings; only what the tasks ask of it."""
    config = replace(presets.load("smoke", changes), hierarchies=hierarchies or {})

    def of_kind(kind):
        return SimpleNamespace(config=config.for_hierarchy_network(kind))

    return SimpleNamespace(config=config, for_hierarchy_network=of_kind, folder=Path("run"))


def hierarchy_tasks(data, changes=WHOLE_STUDY):
    return tasks.hierarchy_tasks(run_of(changes), data)


def test_every_network_learns_its_outputs_from_its_samples(data, capsys):
    found = hierarchy_tasks(data)
    assert list(found) == [
        "stage_1", "stage_1_single", "stage_2_pair", "stage_2_pair_other", "stage_2_rest",
        "stage_2_rest_other", "joint",
    ]  # fmt: skip
    text = capsys.readouterr().out
    assert "Single: no stage 2 network" in text and "Empty: no stage 2 network" in text
    stage_1 = found["stage_1"]
    assert stage_1.truth_NO.astype(int)[[0, 4, 7]].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 1]]
    assert stage_1.outputs == list(FOUR) and stage_1.classes is stage_1.output_classes is None
    single = found["stage_1_single"]
    assert single.truth_NO.shape == (12, 15) and single.run.config.training.loss == "cross_entropy"
    assert single.outputs[:5] == ["Pair", "Single", "Empty", "Rest", "Pair + Single"]
    assert [single.outputs[row.argmax()] for row in single.truth_NO[[0, 4, 7]]] == [
        "Pair", "Pair + Single", "Pair + Rest"
    ]  # fmt: skip
    pair = found["stage_2_pair"]
    (fold,) = pair.folds
    assert fold.train.tolist() == [0, 1, 2, 4, 7] and fold.validation.tolist() == [8, 9]
    assert pair.truth_NO[fold.train].astype(int).tolist() == [[1, 0], [0, 1], [1, 1], [1, 0], [1, 0]]
    assert pair.start_from == "stage_1" and pair.group_classes == pair.output_classes == [0, 1]
    assert pair.outputs == [CLASSES[0], CLASSES[1]]
    assert pair.classes is None, "alone it is no predictor"
    joint = found["joint"]
    assert joint.truth_NO.shape == (12, 28 + 4) and joint.heads == tuple(FOUR.values())
    assert joint.truth_NO[7].nonzero()[0].tolist() == [0, 6, 28, 31]
    assert joint.outputs == [*CLASSES, *FOUR] and joint.classes == list(range(28)) and not joint.start_from


def test_other_samples_are_an_output_and_join_the_groups(data):
    other = hierarchy_tasks(data)["stage_2_pair_other"]
    # class 0 has 4 training samples, class 1 has 2: 3 others, and these are all that there are
    (fold,) = other.folds
    assert fold.train.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    # on validation class 0 has one sample, class 1 one: one of the others
    assert len(fold.validation) == 3 and {8, 9} < set(fold.validation.tolist())
    assert other.truth_NO[:, 2].tolist() == [not {0, 1} & set(labels) for labels in TARGETS]
    assert other.outputs[-1] == "other" and other.group_classes == [0, 1]


def test_settings_select_the_networks(data):
    for changes, names in (
        (["hierarchy.train=joint"], ["joint"]),
        (
            ["hierarchy.train=stages", "hierarchy.stage_1=single_label", "hierarchy.other=with"],
            ["stage_1_single", "stage_2_pair_other", "stage_2_rest_other"],
        ),
        (
            ["hierarchy.train=stages", "hierarchy.stage_1=multi_label", "hierarchy.other=without"],
            ["stage_1", "stage_2_pair", "stage_2_rest"],
        ),
    ):
        assert list(hierarchy_tasks(data, changes)) == names
    without = hierarchy_tasks(data, [*WHOLE_STUDY, "hierarchy.transfer=false"])
    assert not any(task.start_from for task in without.values())
    single = hierarchy_tasks(data, ["hierarchy.stage_1=single_label"])
    assert single["stage_2_pair"].start_from == "stage_1_single", "the first stage 1 network"


def test_a_further_hierarchy_has_networks_of_its_own_groups(data):
    two = {"hierarchy_two": ("hierarchy.grouping=two", "hierarchy.other=with")}
    found = tasks.hierarchy_tasks(run_of(["hierarchy.train=stages"], two), data)
    assert list(found) == [
        "stage_1", "stage_2_pair", "stage_2_rest", "stage_1_two", "stage_2_two_nucleus_other"
    ]  # fmt: skip
    stage_1, nucleus = found["stage_1_two"], found["stage_2_two_nucleus_other"]
    assert stage_1.outputs == ["Nucleus", "Cytoplasm & secretory"]
    assert stage_1.truth_NO.astype(int)[[0, 6, 7]].tolist() == [[1, 0], [0, 1], [1, 1]]
    assert nucleus.start_from == "stage_1_two" and nucleus.group_classes == list(range(6))
    assert found["stage_2_pair"].start_from == "stage_1" and found["stage_1"].outputs == list(FOUR)


def test_two_hierarchies_cannot_have_a_network_of_the_same_name(data):
    groups = {"Two nucleus": tuple(range(6)), "Rest": tuple(range(6, 28))}
    run = run_of(["hierarchy.train=stages"], {"hierarchy_two": ("hierarchy.grouping=two",)})
    with pytest.raises(UserError, match=r"hierarchy and hierarchy_two .*stage_2_two_nucleus: rename"):
        tasks.hierarchy_tasks(run, replace(data, groups=groups))


def test_classes_that_the_run_leaves_out_are_no_outputs():
    found = hierarchy_tasks(run_data(classes=[0, 1, 5, 6, 7]))
    assert found["stage_2_rest"].group_classes == [5, 6, 7]
    assert found["stage_1"].truth_NO.shape == (12, 4) and not found["stage_1"].truth_NO[3].any()
    joint = found["joint"]
    assert joint.heads == ((0, 1), (2, 3, 4)) and joint.truth_NO.shape == (12, 5 + 2)
    assert joint.outputs[5:] == ["Pair", "Rest"]


def test_a_group_without_validation_samples_is_validated_on_its_training_samples(capsys):
    rest = tuple(c for c in range(28) if c not in (5, 6, 7))
    targets = [*TARGETS[:6], (6, 7), *TARGETS[7:]]
    data = run_data(targets, {"Five": (5,), "Six and seven": (6, 7), "Rest": rest})
    (fold,) = hierarchy_tasks(data)["stage_2_six_and_seven"].folds
    assert fold.train.tolist() == fold.validation.tolist() == [6, 7]
    assert "Six and seven has no validation sample" in capsys.readouterr().err


def test_with_folds_each_fold_has_the_rows_of_its_group(data):
    rows = np.arange(12)
    folds = tuple(Fold(k, rows[rows % 2 != k], rows[rows % 2 == k]) for k in range(2))
    folded = type(data)(data.index, {"validation": rows}, folds, data.classes, FOUR)
    found = hierarchy_tasks(folded)
    assert [fold.number for fold in found["stage_1"].folds] == [0, 1]
    in_pair = [row for row, labels in enumerate(TARGETS) if {0, 1} & set(labels)]
    for fold in found["stage_2_pair"].folds:
        assert fold.validation.tolist() == [row for row in in_pair if row % 2 == fold.number]
        assert fold.train.tolist() == [row for row in in_pair if row % 2 != fold.number]
    for fold, within in zip(found["stage_2_pair_other"].folds, found["stage_2_pair"].folds, strict=True):
        assert fold.number == within.number
        for ours, pair, all_rows in (
            (fold.train, within.train, folds[fold.number].train),
            (fold.validation, within.validation, folds[fold.number].validation),
        ):
            assert set(pair) <= set(ours) <= set(all_rows) and len(ours) > len(pair)


def test_the_deeper_baselines_of_the_thesis_are_as_large_as_its_hierarchy():
    chosen = presets.load("hoogenboom", [])
    names = [chosen.for_network(name).network.architecture for name in chosen.networks]
    assert names == ["resnet18", "resnet34", "resnet50", "resnet101"]
    with torch.device("meta"):  # without memory
        first, *_, last = (timm.create_model(name, in_chans=4, num_classes=21) for name in names)
    assert models.count_parameters(last) == pytest.approx(4 * models.count_parameters(first), rel=0.06)


def test_others_are_drawn_at_random_and_counted_as_in_the_thesis():
    random = np.random.default_rng(1)
    truth_NL = random.uniform(size=(1000, 4)) < [0.3, 0.1, 0.05, 0.0]
    rows = np.arange(100, 900)
    within = rows[truth_NL[rows].any(axis=1)]
    mean = truth_NL[rows].sum(axis=0).mean()
    chosen = tasks.with_other(within, rows, truth_NL, [0, 1])
    others = np.setdiff1d(chosen, within)
    assert len(chosen) == len(set(chosen)) == len(within) + round(mean) and set(within) <= set(chosen)
    assert not truth_NL[others].any() and others.min() >= 100 and others.max() < 900
    assert (np.diff(chosen) > 0).all() and others.max() - others.min() > 700, "from all over the subset"
    assert np.array_equal(chosen, tasks.with_other(within, rows, truth_NL, [0, 1]))
    assert not np.array_equal(chosen, tasks.with_other(within, rows, truth_NL, [0, 2]))
