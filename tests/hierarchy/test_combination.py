"""How the networks' predictions are combined into predictors, which describe themselves."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from lib import cli, files
from lib.config import Hierarchy
from lib.data.run_data import Fold, RunData
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import Predictor, table_path
from lib.hierarchy import combination
from lib.hierarchy.combination import Combination, HierarchyPredictions
from tests.hierarchy.conftest import FOUR, TARGETS, run_data


def combined(hierarchy, name, subset):
    """Return the predictions of a combination by its name."""
    (one,) = (one for one in hierarchy.combinations([1]) if one.name == name)
    return hierarchy.combine(hierarchy.describe(one), subset, hierarchy.calibration())


# which predictors there are


def test_predictors_are_named_after_routing_output_and_views():
    assert Combination("hard", False, 1).name == "hierarchy_hard"
    assert Combination("soft", True, 8).name == "hierarchy_soft_other_tta"
    assert combination.stage_2_name("Cytoplasm & secretory", True) == "stage_2_cytoplasm_secretory_other"


@pytest.mark.parametrize(
    ("other", "views", "names"),
    [
        ("without", [1], ["hierarchy_hard", "hierarchy_soft"]),
        ("with", [1], ["hierarchy_hard_other", "hierarchy_soft_other"]),
        ("without", [1, 8], ["hierarchy_hard", "hierarchy_soft", "hierarchy_hard_tta", "hierarchy_soft_tta"]),
        ("both", [1], ["hierarchy_hard", "hierarchy_soft", "hierarchy_hard_other", "hierarchy_soft_other"]),
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


# the step of stage 03


@pytest.fixture
def run(tmp_path, hierarchy):
    """A run whose networks have predicted."""
    options = ["--preset", "smoke", "--work", str(tmp_path), "--set", "hierarchy.other=without"]
    run = cli.start(cli.network_parser("Stage 03: test. \n"), [*options, "hierarchy.train=stages"])
    run.folder.mkdir(parents=True)
    hierarchy.networks.rename(run.folder / "networks")
    for path in (run.index, run.split):
        files.write_text(path, "as it was")
    return run


def test_predictors_are_written_with_their_description(run, data, capsys):
    combination.write_predictors(run, data, "03_train_hier")
    assert predictions.list_predictors(run.folder / "predictions") == ["hierarchy_hard", "hierarchy_soft"]
    hierarchy = HierarchyPredictions(run.folder / "networks", run.config.hierarchy, data)
    for one in hierarchy.combinations([1]):
        folder = run.predictor(one.name)
        assert Predictor.read(folder) == hierarchy.describe(one)
        assert {path.stem for path in folder.glob("*.npz")} == {"train", "validation", "test"}
        for subset in data.predicted_subsets:
            expected = hierarchy.combine(hierarchy.describe(one), subset, hierarchy.calibration())
            found = predictions.load(folder / f"{subset}.npz")
            assert found.ids == data.ids(subset)
            assert np.array_equal(found.probabilities_NC, expected.probabilities_NC)
    assert "hierarchy_hard, hierarchy_soft" in capsys.readouterr().out


def test_predictors_are_combined_once_until_a_network_changes(run, data, capsys):
    combination.write_predictors(run, data, "03_train_hier")
    capsys.readouterr()
    combination.write_predictors(run, data, "03_train_hier")
    assert "hierarchy_hard, hierarchy_soft are up to date" in capsys.readouterr().out
    path = table_path(run.network("stage_2_pair"), "test", 1)
    table = predictions.load(path)
    table.probabilities_NC[:, 0] = 0.1
    predictions.save(path, table)
    with pytest.raises(UserError, match=r"different stage_2_pair/test.npz: .*--force"):
        combination.write_predictors(run, data, "03_train_hier")


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


def test_a_hierarchy_is_combined_from_the_networks_that_it_lists_whatever_its_name(run, data):
    from lib.report import own_images_page

    combination.write_predictors(run, data, "03_train_hier")
    run.predictor("hierarchy_hard").rename(run.predictor("x_tta"))
    expected = predictions.load(run.predictor("x_tta") / "test.npz")
    asked = []

    def predict_network(network, views):
        asked.append((network, views))

    # the networks' predictions of the images are those of the test samples
    images = SimpleNamespace(
        run=run, data=data, networks=run.folder / "networks", predict_network=predict_network
    )
    table = own_images_page.predict(images, "x_tta")
    assert np.array_equal(table.probabilities_NC, expected.probabilities_NC)
    assert asked == [(name, 1) for name in ("stage_1", "stage_2_pair", "stage_2_rest")]
