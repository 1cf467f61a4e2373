"""A hierarchy of networks: what each learns, what they say together, and what one network with heads does."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib import location_groups, presets
from lib.config import Hierarchy, Network
from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import PredictionTable
from lib.hierarchy import tasks as networks
from lib.hierarchy.evaluation import Parts, is_constant, table_path
from lib.labels import GROUPS, target_matrix
from lib.learning import models
from lib.learning.heads import GroupHeads

NO_FEATURES = torch.zeros(2, 0)
# a group of two labels, a group of one, a group that no sample has a label of, and the rest
FOUR = {"Pair": (0, 1), "Single": (2,), "Empty": (3, 4), "Rest": tuple(range(5, 28))}
TARGETS = [(0,), (1,), (0, 1), (2,), (2, 0), (5,), (6,), (0, 6), (1,), (0,), (2,), (5,)]
WHOLE_STUDY = ["hierarchy.stage_1=both", "hierarchy.other=both"]
SUBSETS = {"train": np.arange(8), "validation": np.arange(8, 12)}


@pytest.fixture
def index():
    return Index([f"s{row}" for row in range(len(TARGETS))], list(TARGETS), ["t0", "t1"])


@pytest.fixture
def run(tmp_path, monkeypatch, index):
    """A run whose material is twelve samples; only what the tasks ask of it."""
    material = SimpleNamespace(index=index, subsets=SUBSETS, classes=list(range(28)))
    monkeypatch.setattr(networks.Material, "of", lambda _run: material)
    run = SimpleNamespace(
        folder=tmp_path,
        config=presets.load("smoke", WHOLE_STUDY),
        predictions=lambda name, subset: tmp_path / "predictions" / name / f"{subset}.npz",
    )
    run.of_part = lambda part: SimpleNamespace(config=run.config.of_part(part))
    return run


def test_every_network_learns_its_outputs_from_its_samples(run, capsys):
    found = networks.tasks(run, FOUR)
    assert list(found) == [
        "stage_1", "stage_1_single", "stage_2_pair", "stage_2_pair_other", "stage_2_rest",
        "stage_2_rest_other", "joint",
    ]  # fmt: skip
    text = capsys.readouterr().out
    assert "Single: nothing to tell apart within its 2 training samples" in text
    assert "Empty: nothing to tell apart within its 0 training samples" in text
    assert found["stage_1"].truth_NO.astype(int)[[0, 4, 7]].tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 0, 0, 1],
    ]
    assert found["stage_1_single"].truth_NO.shape == (12, 15)
    assert found["stage_1_single"].run.config.training.loss == "cross_entropy"
    pair = found["stage_2_pair"]
    assert pair.train.tolist() == [0, 1, 2, 4, 7] and pair.validation.tolist() == [8, 9]
    assert pair.truth_NO[pair.train].astype(int).tolist() == [[1, 0], [0, 1], [1, 1], [1, 0], [1, 0]]
    assert pair.start == "stage_1" and pair.classes == [0, 1]
    other = found["stage_2_pair_other"]
    # label 0 has 4 training samples, label 1 has 2: 3 others, and all three that there are
    assert other.train.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert other.truth_NO[:, 2].tolist() == [not {0, 1} & set(labels) for labels in TARGETS]
    joint = found["joint"]
    assert joint.truth_NO.shape == (12, 28 + 4) and joint.heads == tuple(FOUR.values())
    assert joint.truth_NO[7].nonzero()[0].tolist() == [0, 6, 28, 31]


def test_settings_say_which_networks_there_are(run):
    for changes, names in (
        (["hierarchy.train=joint"], ["joint"]),
        (
            ["hierarchy.train=stages", "hierarchy.stage_1=single_label", "hierarchy.other=with"],
            ["stage_1_single", "stage_2_pair_other", "stage_2_rest_other"],
        ),
    ):
        run.config = presets.load("smoke", changes)
        assert list(networks.tasks(run, FOUR)) == names
    run.config = presets.load("smoke", [*WHOLE_STUDY, "hierarchy.transfer=false"])
    assert not any(task.start for task in networks.tasks(run, FOUR).values())


def test_classes_that_the_run_leaves_out_are_no_outputs(run):
    networks.Material.of(run).classes = [0, 1, 5, 6, 7]
    found = networks.tasks(run, FOUR)
    assert found["stage_2_rest"].classes == [5, 6, 7]
    assert found["stage_1"].truth_NO.shape == (12, 4) and not found["stage_1"].truth_NO[3].any()
    assert found["joint"].heads == ((0, 1), (2, 3, 4)) and found["joint"].truth_NO.shape == (12, 5 + 2)


def test_a_group_without_validation_samples_is_judged_by_its_training_samples(run, capsys):
    groups = {
        "Five": (5,),
        "Six and seven": (6, 7),
        "Rest": tuple(c for c in range(28) if c not in (5, 6, 7)),
    }
    networks.Material.of(run).index.targets[6] = (6, 7)
    found = networks.tasks(run, groups)
    assert found["stage_2_six_and_seven"].validation.tolist() == [6, 7]
    assert "Six and seven has no validation sample" in capsys.readouterr().err


def test_others_are_drawn_at_random_and_counted_as_in_the_thesis():
    random = np.random.default_rng(1)
    truth_NL = random.uniform(size=(1000, 4)) < [0.3, 0.1, 0.05, 0.0]
    rows = np.arange(100, 900)
    within = rows[truth_NL[rows].any(axis=1)]
    mean = truth_NL[rows].sum(axis=0).mean()
    chosen = networks.with_other(within, rows, truth_NL, [0, 1])
    others = np.setdiff1d(chosen, within)
    assert len(chosen) == len(set(chosen)) == len(within) + round(mean) and set(within) <= set(chosen)
    assert not truth_NL[others].any() and others.min() >= 100 and others.max() < 900
    assert np.array_equal(chosen, networks.with_other(within, rows, truth_NL, [0, 1]))
    assert not np.array_equal(chosen, networks.with_other(within, rows, truth_NL, [0, 2]))


def test_nothing_can_be_learnt_from_one_sample_or_the_same_labels():
    assert is_constant(np.zeros((0, 2), bool)) and is_constant(np.ones((1, 2), bool))
    assert is_constant(np.array([[True, False]] * 3)) and is_constant(np.zeros((5, 0), bool))
    assert not is_constant(np.array([[True, False], [True, True]]))


# what they say together


@pytest.fixture
def parts(tmp_path, index):
    """Networks of the four groups that have spoken: stage 1 is sure, stage 2 says 0.8 and 0.3."""
    settings = Hierarchy(train="stages", stage_1="both", other="without")
    parts = Parts(tmp_path, settings, FOUR, index, SUBSETS, list(range(28)))
    for subset in (*SUBSETS, "test"):
        ids = parts.ids(subset)[::-1]  # matched by id, never by position
        truth_NG = location_groups.membership(target_matrix([(0, 6), (2,)]), FOUR)[::-1]
        if subset != "test":
            truth_NG = parts.truth_NG(subset)[::-1]
        said_NG = np.where(truth_NG, 0.9, 0.1)
        said_NM = location_groups.to_combinations(truth_NG).astype(float)
        within_NC = np.zeros((len(ids), 28))
        within_NC[:, 0], within_NC[:, 1], within_NC[:, 5:7] = 0.8, 0.3, 0.6
        for network, values in (
            ("stage_1", said_NG), ("stage_1_single", said_NM), ("stage_2_pair", within_NC),
            ("stage_2_rest", within_NC),
        ):  # fmt: skip
            predictions.save(table_path(tmp_path, network, subset), PredictionTable(ids, values))
    return parts


def test_hard_and_soft_predictors_by_hand(parts):
    found = parts.predictors()
    assert list(found) == ["hierarchy_hard", "hierarchy_soft"]
    hard_NC = found["hierarchy_hard"]["test"].probabilities_NC
    assert found["hierarchy_hard"]["test"].ids == ["t0", "t1"]
    # t0 goes to Pair and Rest; t1 to Single, whose one label its training samples all carry
    assert hard_NC[0, [0, 1, 2, 5, 6, 7]] == pytest.approx([0.8, 0.3, 0, 0.6, 0.6, 0])
    assert hard_NC[1, [0, 1, 2, 5, 6, 7]] == pytest.approx([0, 0, 1, 0, 0, 0])
    soft_NC = found["hierarchy_soft"]["test"].probabilities_NC
    assert soft_NC[0, 0] / soft_NC[0, 1] == pytest.approx(0.8 / 0.3)  # the same group, whatever its weight
    assert 0 < soft_NC[1, 0] < soft_NC[0, 0] < 0.8
    assert not hard_NC[:, [3, 4]].any() and not soft_NC[:, [3, 4]].any()  # no sample has them


def test_a_single_label_network_routes_by_its_most_probable_combination(parts):
    single = dataclasses.replace(parts, settings=Hierarchy(stage_1="single_label"))
    ours, theirs = (made.predictors()["hierarchy_hard"]["test"].probabilities_NC for made in (single, parts))
    assert np.array_equal(ours, theirs)  # both are sure of the same groups here
    assert single.tables("test")[0].parent.name == "stage_1_single"


def test_stage_1_is_judged_group_by_group(parts):
    judged = parts.judge_groups("validation").set_index(["network", "group"])
    for network in ("multi-label", "single-label"):
        assert judged.loc[(network, "Pair"), ["support", "f1"]].tolist() == [2, 1]
        assert judged.loc[(network, "Empty"), "support"] == 0


def test_stage_2_is_judged_on_the_samples_of_its_group(parts):
    validation = parts.ids("validation")
    nothing = PredictionTable(validation, np.zeros((4, 28), np.float32))
    judged = parts.judge_within("validation", "baseline", nothing, 0.5)
    assert judged["group"].unique().tolist() == ["Pair", "Rest"]  # the others have no network
    row = judged.set_index(["predictor", "class"]).loc[("stage 2 without other", "Nucleoplasm")]
    # Pair's validation samples carry (1,) and (0,): 0 is said of both, F1 2/3, PA 1 - (1/3)/(1/2)
    assert (row["samples"], row["support"], row["predicted"]) == (2, 1, 2)
    assert row["prediction_advantage"] == pytest.approx(1 / 3)
    row = judged.set_index(["predictor", "class"]).loc[("baseline", "Nucleoplasm")]
    assert row["f1"] == 0 and row["prediction_advantage"] == pytest.approx(-1)


def test_what_is_missing_names_its_maker(parts):
    (parts.networks / "stage_2_rest" / "test.npz").unlink()
    with pytest.raises(UserError, match=r"stage_2_rest/test.npz is missing: run `python 03_train_hier.py`"):
        parts.predictors()


# the networks


def test_heads_multiply_group_and_label():
    torch.manual_seed(0)
    heads = GroupHeads(5, ((2, 0), (1, 3, 4)), Network(fusion_width=4)).eval()
    representation_BR = torch.randn(3, 5)
    said = heads(representation_BR).sigmoid()
    group_BG = heads.group(representation_BR).sigmoid()
    first, second = (head(representation_BR).sigmoid() for head in heads.heads)
    wanted = [
        group_BG[:, 0] * first[:, 1], group_BG[:, 1] * second[:, 0], group_BG[:, 0] * first[:, 0],
        group_BG[:, 1] * second[:, 1], group_BG[:, 1] * second[:, 2], group_BG[:, 0], group_BG[:, 1],
    ]  # fmt: skip
    assert torch.allclose(said, torch.stack(wanted, dim=1), atol=1e-6)


def test_heads_learn_also_where_they_are_sure():
    heads = GroupHeads(1, ((0,), (1,)), Network(fusion_width=2))
    for sign in (1.0, -1.0):
        with torch.no_grad():
            heads.group.bias.fill_(sign * 60)
            for head in heads.heads:
                head[-1].bias.fill_(sign * 60)
        logits = heads(torch.ones(1, 1))
        targets = torch.full_like(logits, float(sign < 0))  # all wrong
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
        gradient = torch.autograd.grad(loss, heads.group.bias)[0]
        assert torch.isfinite(logits).all() and torch.isfinite(gradient).all() and gradient.abs().min() > 0.1


def test_a_network_starts_from_anothers_weights_all_but_the_last_layer(tmp_path):
    settings = Network(architecture="test_resnet")
    first, second = (models.build_model(settings, 3, [127.0] * 4, [74.0] * 4) for _ in range(2))
    (tmp_path / "stage_1").mkdir()
    torch.save(first.state_dict(), tmp_path / "stage_1" / "weights.pt")
    models.start_from(second, tmp_path / "stage_1")
    ours, theirs = second.state_dict(), first.state_dict()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]) != name.startswith("backbone.fc."), name
    other = models.build_model(Network(architecture="resnet10t"), 3, [127.0] * 4, [74.0] * 4)
    with pytest.raises(UserError, match=r"stage_1 is another network than the one that starts from it \("):
        models.start_from(other, tmp_path / "stage_1")


def test_pixels_can_be_brought_to_0_1():
    settings = Network(architecture="test_resnet", normalisation="unit")
    model = models.build_model(settings, 3, [127.0] * 4, [74.0] * 4)
    seen = []
    model.backbone.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    model(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 3, 1).expand(2, 32, 3, 4), NO_FEATURES)
    assert seen[0][0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


def test_the_larger_baselines_are_as_large_as_the_hierarchy():
    chosen = presets.load("hoogenboom", [])

    def network(name):
        settings = chosen.of_network(name).network
        return models.build_model(settings, 21, [127.0] * 4, [74.0] * 4)

    four = 4 * models.count_parameters(network("baseline"))
    assert models.count_parameters(network("baseline_resnet101")) == pytest.approx(four, rel=0.06)
    names = [chosen.of_network(name).network.architecture for name in chosen.networks]
    assert names == [
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
    ]  # 34 layers are twice 18, less two heads


def test_the_thesis_is_a_preset():
    chosen = presets.load("hoogenboom", [])
    assert (chosen.split.validation, chosen.split.holdout, chosen.split.rare_class_minimum) == (
        0.2,
        0.2,
        0.01,
    )
    training, network, hierarchy = chosen.training, chosen.network, chosen.hierarchy
    assert (training.size, training.loss, training.early_stopping) == (256, "soft_margin", 6)
    assert (network.architecture, network.normalisation) == ("resnet18", "unit")
    assert (chosen.threshold.method, chosen.threshold.fixed) == ("fixed", 0.5)
    assert (hierarchy.grouping, hierarchy.stage_1, hierarchy.other) == ("atlas", "both", "both")
    assert hierarchy.transfer and location_groups.read(hierarchy.grouping) == GROUPS
