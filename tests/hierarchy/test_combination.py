"""How the networks' predictions are combined into predictors, which describe themselves."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from lib import presets
from lib.config import override
from lib.data.run_data import Fold, RunData
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import Predictor, table_path
from lib.hierarchy import combination
from lib.hierarchy.combination import Combination, HierarchyPredictions
from lib.sections import Hierarchy
from tests.hierarchy.conftest import FOUR, OTHERS, TARGETS, run_data


def combined(hierarchy, name, subset):
    """Return the predictions of a combination by its name."""
    (one,) = (one for one in hierarchy.combinations([1]) if one.name == name)
    return hierarchy.combine(hierarchy.describe(one), subset, hierarchy.calibration())


# which predictors there are


def test_predictors_are_named_after_routing_output_and_views():
    assert Combination("hard", False, 1).name == "hierarchy_hard"
    assert Combination("soft", True, 8).name == "hierarchy_soft_other_tta"
    assert Combination("hard", True, 1, veto=True).name == "hierarchy_hard_other_veto"
    assert Combination("hard", False, 1, hierarchy="hierarchy_two").name == "hierarchy_two_hard"


@pytest.mark.parametrize(
    ("other", "views", "names"),
    [
        ("without", [1], ["hierarchy_hard", "hierarchy_soft"]),
        ("with", [1], ["hierarchy_hard_other", "hierarchy_soft_other", "hierarchy_hard_other_veto"]),
        ("without", [1, 8], ["hierarchy_hard", "hierarchy_soft", "hierarchy_hard_tta", "hierarchy_soft_tta"]),
        (
            "both",
            [1],
            [
                "hierarchy_hard",
                "hierarchy_soft",
                "hierarchy_hard_other",
                "hierarchy_soft_other",
                "hierarchy_hard_other_veto",
            ],
        ),
    ],
)
def test_settings_select_the_combinations(hierarchy, other, views, names):
    chosen = dataclasses.replace(hierarchy, settings=Hierarchy(other=other))
    assert [one.name for one in chosen.combinations(views)] == names


def test_a_combination_lists_the_networks_that_it_consists_of(hierarchy):
    assert hierarchy.describe(Combination("hard", False, 1)) == Predictor(
        "hierarchy",
        routing="hard",
        stage_1="stage_1",
        stage_2={"Pair": "stage_2_pair", "Rest": "stage_2_rest"},
    )
    single = dataclasses.replace(hierarchy, settings=Hierarchy(stage_1="single_label", other="with"))
    described = single.describe(Combination("soft", True, 8))
    assert (described.stage_1, described.views) == ("stage_1_single", 8)
    assert described.stage_2 == {"Pair": "stage_2_pair_other", "Rest": "stage_2_rest_other"}


def test_a_group_with_nothing_to_learn_has_no_network(data):
    classes = {group: combination.trainable_classes(data, group) for group in FOUR}
    # two training samples with the same label; none at all
    assert classes == {"Pair": [0, 1], "Single": [], "Empty": [], "Rest": list(range(5, 28))}
    assert combination.trainable_classes(run_data(classes=[1, 6]), "Rest") == []  # always 6
    one = run_data([(0,), (1,), *[(5,)] * 6, *TARGETS[8:]])
    assert combination.trainable_classes(one, "Pair") == [0, 1]
    alone = run_data([(0, 1), *[(5,)] * 7, *TARGETS[8:]])
    assert combination.trainable_classes(alone, "Pair") == [], "one sample is not enough"


def test_a_group_needs_something_to_learn_in_every_fold(data):
    rows = np.arange(12)
    folds = (Fold(0, rows[4:], rows[:4]), Fold(1, rows[:4], rows[4:]))
    folded = RunData(data.index, {"validation": rows}, folds, data.classes, FOUR)
    # without rows 4 to 11, there is no sample of Rest
    assert combination.trainable_classes(folded, "Rest") == []
    assert combination.trainable_classes(folded, "Pair") == [0, 1]


def test_a_further_hierarchy_has_groups_and_names_of_its_own(data, tmp_path):
    config = dataclasses.replace(presets.PRESETS["hoogenboom"], overrides=("hierarchy.train=stages",))
    run = SimpleNamespace(config=override(config, ()), folder=tmp_path)
    main, two = HierarchyPredictions.all_of(run, data)
    assert main.data is data and list(two.data.groups) == ["Nucleus", "Cytoplasm & secretory"]
    assert (main.stage_1, two.stage_1) == (("stage_1", "stage_1_single"), ("stage_1_two",))
    assert two.stage_2(True) == {"Nucleus": "stage_2_two_nucleus_other"}  # outside, all have one label
    assert two.stage_2_name("Cytoplasm & secretory", False) == "stage_2_two_cytoplasm_secretory"
    assert [one.name for one in two.combinations([1])][:2] == ["hierarchy_two_hard", "hierarchy_two_soft"]
    described = two.describe(Combination("soft", False, 1))
    assert (described.hierarchy, described.stage_1) == ("hierarchy_two", "stage_1_two")
    for train in ("none", "joint"):
        run.config = override(dataclasses.replace(config, overrides=(f"hierarchy.train={train}",)), ())
        assert HierarchyPredictions.all_of(run, data) == []


# what they predict


def test_hard_and_soft_predictors_by_hand(hierarchy):
    hard = combined(hierarchy, "hierarchy_hard", "test")
    assert hard.ids == ["t0", "t1"]
    # t0 goes to Pair and Rest; t1 to Single, whose one class all its training samples have
    assert hard.probabilities_NC[0, [0, 1, 2, 5, 6, 7]] == pytest.approx([0.8, 0.3, 0, 0.6, 0.6, 0])
    assert hard.probabilities_NC[1, [0, 1, 2, 5, 6, 7]] == pytest.approx([0, 0, 1, 0, 0, 0])
    soft_NC = combined(hierarchy, "hierarchy_soft", "test").probabilities_NC
    assert soft_NC[0, 0] / soft_NC[0, 1] == pytest.approx(0.8 / 0.3)  # the same group, whatever its weight
    assert 0 < soft_NC[1, 0] < soft_NC[0, 0] < 0.8
    assert not hard.probabilities_NC[:, [3, 4]].any() and not soft_NC[:, [3, 4]].any()  # no sample has them


def test_soft_routing_weights_by_the_calibrated_probabilities_of_stage_1(hierarchy):
    probabilities_NG, _ = hierarchy.group_predictions("stage_1", "test")
    calibrated_NG = hierarchy.calibration()(probabilities_NG)
    assert np.abs(calibrated_NG - probabilities_NG).max() > 0.01
    soft_NC = combined(hierarchy, "hierarchy_soft", "test").probabilities_NC
    assert soft_NC[:, 0] == pytest.approx(0.8 * calibrated_NG[:, 0])
    assert soft_NC[:, 2] == pytest.approx(calibrated_NG[:, 1])


def test_other_is_read_by_group_and_id(with_other):
    networks = with_other.stage_2(True)
    other_NG = with_other.other_NG(networks, "validation")
    assert other_NG[:, [0, 3]] == pytest.approx(np.transpose([OTHERS[x]["validation"] for x in OTHERS]))
    assert not other_NG[:, [1, 2]].any()  # they have no network
    path = table_path(with_other.networks / "stage_2_pair_other", "validation", 1)
    predictions.save(path, dataclasses.replace(predictions.load(path), other_N=None))
    with pytest.raises(
        UserError, match=r"stage_2_pair_other/.* no other.*03_train_hier.py --network stage_2_pair_other --f"
    ):
        with_other.other_NG(networks, "validation")


def test_the_veto_is_tuned_on_validation_for_the_f1_of_the_group(with_other):
    # Pair: 0.1 and 0.3 are of the group, 0.4 and 0.9 are not; Rest: the one that is accepted is, with 0.2,
    # and those that are not accepted rank last
    assert with_other.veto_thresholds() == pytest.approx({"Pair": 0.35, "Rest": 0.6})
    nowhere = dataclasses.replace(with_other.data, subsets={"validation": np.array([10, 11])})
    assert "Pair" not in dataclasses.replace(with_other, data=nowhere).veto_thresholds()


def test_a_group_whose_other_exceeds_its_threshold_is_removed(with_other):
    veto = {"Pair": 0.35, "Rest": 0.6}
    (one,) = (one for one in with_other.combinations([1]) if one.veto)
    assert with_other.describe(one).veto == pytest.approx(veto)
    plain_NC = combined(with_other, "hierarchy_hard_other", "test").probabilities_NC
    veto_NC = combined(with_other, "hierarchy_hard_other_veto", "test").probabilities_NC
    assert plain_NC[:, [0, 1, 5]] == pytest.approx(np.array([[0.8, 0.3, 0]] * 2))
    assert np.array_equal(veto_NC[1], plain_NC[1])
    # nothing is left of the first sample: its probabilities only rank, 0.9 * 0.64 * 0.8 and 0.4 * 1 * 0.6
    assert veto_NC[0, [0, 5]] == pytest.approx([1e-6 * 0.4608, 1e-6 * 0.24])
    validation_NC = combined(with_other, "hierarchy_hard_other_veto", "validation").probabilities_NC
    assert (validation_NC[:, 0] > 0.5).tolist() == [True, True, False, False]
    assert (validation_NC[:, 5] > 0.5).tolist() == [False, False, False, True]


def test_labels_are_matched_by_id(hierarchy):
    """Every sample of validation is given its own groups, although the tables are in another order."""
    hard_NC = combined(hierarchy, "hierarchy_hard", "validation").probabilities_NC
    assert hard_NC[:, [0, 2, 5]] == pytest.approx(
        np.array([[0.8, 0, 0], [0.8, 0, 0], [0, 1, 0], [0, 0, 0.6]])
    )
    assert np.array_equal(hierarchy.allowed_NC("validation")[:, [0, 2, 5]], hard_NC[:, [0, 2, 5]] > 0)


def test_a_single_label_network_routes_by_its_most_probable_combination(hierarchy):
    single = dataclasses.replace(hierarchy, settings=Hierarchy(stage_1="single_label"))
    ours, theirs = (combined(one, "hierarchy_hard", "test").probabilities_NC for one in (single, hierarchy))
    assert np.array_equal(ours, theirs)  # both are sure of the same groups here
    assert single.tables("test")[0].parent.name == "stage_1_single"


def test_only_classes_that_the_run_keeps_are_known(hierarchy):
    fewer = dataclasses.replace(hierarchy.data, classes=[0, 1, 2, 5, 6])
    known_C = combined(dataclasses.replace(hierarchy, data=fewer), "hierarchy_hard", "test").known_C
    assert np.flatnonzero(known_C).tolist() == [0, 1, 2, 5, 6]


def test_test_time_augmentation_has_tables_of_its_own(hierarchy):
    paths = [(path.parent.name, path.name) for path in hierarchy.tables("test", views=8)]
    assert paths == [(name, "test_tta.npz") for name in ("stage_1", "stage_2_pair", "stage_2_rest")]
    with pytest.raises(
        UserError, match=r"stage_1/validation_tta.npz is missing: run `python 03_train_hier.py"
    ):
        hierarchy.calibration(views=8)


def test_what_is_missing_names_its_maker(hierarchy):
    (hierarchy.networks / "stage_2_rest" / "test.npz").unlink()
    with pytest.raises(UserError, match=r"stage_2_rest/test.npz is missing: run `python 03_train_hier.py"):
        combined(hierarchy, "hierarchy_hard", "test")
    (hierarchy.networks / "stage_1" / "test.npz").unlink()
    with pytest.raises(UserError, match=r"stage_1/test.npz is missing: run `python 03_train_hier.py"):
        hierarchy.routing_table("test")


# names mean nothing


@pytest.mark.parametrize(
    "name", ["hierarchy_x", "hierarchy_hard_other", "joint", "stage_1", "x_tta", "ensemble_2"]
)
def test_an_external_predictor_is_external_whatever_its_name(tmp_path, name):
    from lib.report import own_images_page

    folder = tmp_path / "predictions" / name
    Predictor("external", files=["theirs.csv"]).write(folder)
    run = SimpleNamespace(predictor=lambda name: tmp_path / "predictions" / name)
    with pytest.raises(UserError) as error:
        own_images_page.predict(SimpleNamespace(run=run), name)
    message = str(error.value)
    assert (
        all(piece in message for piece in (name, "external", "theirs.csv", "--predictor"))
        and "\n" not in message
    )
