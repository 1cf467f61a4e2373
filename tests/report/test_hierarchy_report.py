"""A hierarchy is scored stage by stage, once everything that it is compared with exists."""

import shutil

from lib.evaluation import predictions, predictor_scores
from lib.hierarchy import combination, evaluation
from lib.hierarchy.combination import HierarchyPredictions
from tests.report.conftest import PREDICTORS, assert_equal, read, report_of, restart, start


def test_the_hierarchy_is_scored_stage_by_stage(finished):
    data = report_of(finished).data
    hierarchy = HierarchyPredictions(finished.folder / "networks", finished.config.hierarchy, data)
    assert_equal(read(finished, "groups"), evaluation.evaluate_groups(hierarchy, "holdout"))
    baseline = predictions.load(finished.predictor("baseline") / "holdout.npz")
    expected = evaluation.evaluate_within_groups(hierarchy, "holdout", "baseline", baseline, 0.5)
    assert_equal(read(finished, "within_groups"), expected)


def test_figures_show_each_stage_on_the_reported_subset(copied, drawn):
    (report,) = report_of(copied).hierarchies
    report.evaluate()
    path, table, title = drawn["group_scores"]
    assert path == copied.figure("groups") and "stage 1: holdout, simulated cells" in title
    assert_equal(read(copied, "groups"), table)
    path, advantages, groups, title = drawn["class_advantages"]
    assert path == copied.figure("advantages") and groups == report.hierarchy.data.groups
    assert "hierarchy and baseline, threshold 0.5 for all classes" in title
    assert advantages["predictor"].unique().tolist() == ["baseline", "hierarchy_hard"]
    assert set(advantages["subset"]) == {"holdout"} and set(advantages["decision"]) == {"fixed"}
    path, within, title = drawn["within_groups"]
    assert path == copied.figure("within_groups") and "stage 2" in title and "holdout" in title
    assert_equal(read(copied, "within_groups"), within)


def test_a_hierarchy_is_not_scored_before_its_networks_are_combined(copied):
    for name in ("groups", "within_groups"):
        copied.evaluation(name).unlink()
    (copied.predictor("hierarchy_hard") / "holdout.npz").unlink()
    report_of(copied)._compare(["baseline", "features_alone"])
    assert not copied.evaluation("groups").exists() and copied.evaluation("predictors").exists()


def test_a_hierarchy_without_a_stage_2_network_is_scored_in_stage_1_alone(copied, drawn, monkeypatch):
    for module in (combination, evaluation):
        monkeypatch.setattr(module, "trainable_classes", lambda _data, _group: [])
    for name in ("hierarchy_hard_other", "hierarchy_hard_other_veto"):
        shutil.copytree(copied.predictor("hierarchy_hard"), copied.predictor(name))
        for table in ("classes", "summary"):
            path = predictor_scores.evaluation_path(copied.folder, "hierarchy_hard", table)
            shutil.copy(path, predictor_scores.evaluation_path(copied.folder, name, table))
    for name in ("groups", "within_groups"):
        copied.evaluation(name).unlink()
    report_of(start(*restart(copied, "hierarchy.other=with")))._compare(PREDICTORS)
    assert copied.evaluation("groups").exists() and {"group_scores", "class_advantages"} <= set(drawn)
    assert not copied.evaluation("within_groups").exists() and "within_groups" not in drawn
    assert not copied.evaluation("other").exists()
