"""The step of stage 03 that writes predictors, which describe themselves, and draws the models."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lib import cli, files, presets
from lib.errors import UserError
from lib.evaluation import predictions
from lib.evaluation.predictions import Predictor, table_path
from lib.figures import model_diagram
from lib.hierarchy import predictors
from lib.hierarchy.combination import HierarchyPredictions
from lib.labels import CLASSES


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """What is drawn: arguments by the name of the file."""
    calls = {}
    monkeypatch.setattr(
        model_diagram, "both_models", lambda path, *arguments: calls.update({path.stem: arguments})
    )
    return calls


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
    predictors.write_predictors(run, data, "03_train_hier")
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
    predictors.write_predictors(run, data, "03_train_hier")
    capsys.readouterr()
    predictors.write_predictors(run, data, "03_train_hier")
    assert "hierarchy_hard, hierarchy_soft are up to date" in capsys.readouterr().out
    path = table_path(run.network("stage_2_pair"), "test", 1)
    table = predictions.load(path)
    table.probabilities_NC[:, 0] = 0.1
    predictions.save(path, table)
    with pytest.raises(UserError, match=r"different stage_2_pair/test.npz: .*--force"):
        predictors.write_predictors(run, data, "03_train_hier")


@pytest.mark.parametrize(
    ("settings", "suffixes"),
    [
        (["stage_1:training.tta=true"], [""]),
        (["stage_2:training.tta=true"], [""]),
        (["stage_1:training.tta=true", "stage_2:training.tta=true"], ["", "_tta"]),
        (["hierarchy.stage_1=single_label", "stage_1_single:training.tta=true",
          "stage_2:training.tta=true"], ["", "_tta"]),
    ],
)  # fmt: skip
def test_augmented_views_are_combined_where_both_stages_have_them(run, data, settings, suffixes):
    if "_tta" in suffixes:
        for path in (run.folder / "networks").glob("*/*.npz"):
            files.write_bytes(path.with_stem(f"{path.stem}_tta"), path.read_bytes())
    run = replace(run, config=presets.load("smoke", [*run.config.overrides, *settings]))
    predictors.write_predictors(run, data, "03_train_hier")
    expected = sorted(f"hierarchy_{rule}{suffix}" for rule in ("hard", "soft") for suffix in suffixes)
    assert predictions.list_predictors(run.folder / "predictions") == expected


def test_a_hierarchy_is_combined_from_the_networks_that_it_lists_whatever_its_name(run, data):
    from lib.report import own_images_page

    predictors.write_predictors(run, data, "03_train_hier")
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


def test_the_models_are_drawn_from_the_groups_and_the_settings(run, data, drawn):
    predictors.write_predictors(run, data, "03_train_hier")
    baseline, hierarchy, branches, title = drawn["models"]
    assert hierarchy == ("hierarchy", "resnet10t")
    assert baseline == ("baseline", "resnet10t", 28) and "simulated" in title
    assert [(one.group, one.network, len(one.classes), one.other) for one in branches] == [
        ("Pair", "resnet10t", 2, False), ("Single", "no network", 1, False),
        ("Empty", "no network", 2, False), ("Rest", "resnet10t", 23, False),
    ]  # fmt: skip
    assert branches[0].classes == list(CLASSES[:2])
