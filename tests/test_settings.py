"""Every setting rejects wrong types, unknown words and values out of bounds, on construction and by --set."""

import ast
import dataclasses
import re
import typing
from dataclasses import dataclass
from typing import Any

import pytest

from lib import presets, settings
from lib.config import SECTIONS
from lib.errors import UserError
from lib.sections import LOSSES
from lib.settings import Section, setting
from tests.conftest import ROOT

ALL = {
    f"{section}.{item.name}": item for section, kind in SECTIONS.items() for item in dataclasses.fields(kind)
}
# of network.channels, code counts the letters
WITH_CHOICES = [path for path, item in ALL.items() if item.metadata["choices"] and path != "network.channels"]
# modules that dispatch on a setting with choices
HANDLED_IN = {
    "data.projection": ["data/image_files"],
    "split.by": ["data/splits"],
    "split.method": ["data/splits"],
    "features.denoise": ["features/biological"],
    "features.segmentation": ["features/biological"],
    "features.columns": ["features/table"],
    "network.kind": ["config"],
    "network.head": ["learning/pooled_heads"],
    "network.pooling": ["learning/network_spec", "learning/pooled_heads"],
    "network.normalisation": ["learning/models"],
    "network.fourth_channel": ["learning/backbones"],
    "network.features": ["config", "features/table"],
    "network.fusion": ["learning/models"],
    "network.feature_scaling": ["learning/fusion"],
    "network.feature_weights": ["learning/fusion"],
    "training.schedule": ["learning/schedules"],
    "training.loss": ["learning/losses"],
    "training.class_weights": ["learning/losses"],
    "training.sampling": ["learning/train_and_predict"],
    "training.augmentation": ["learning/augment"],
    "training.precision": ["learning/devices"],
    "training.tta_combine": ["learning/inference"],
    "training.keep": ["learning/fit"],
    "hierarchy.train": ["config", "hierarchy/combination", "hierarchy/tasks"],
    "hierarchy.stage_1": ["hierarchy/combination"],
    "hierarchy.other": ["hierarchy/combination"],
    "threshold.method": ["evaluation/thresholds"],
    "threshold.calibration": ["evaluation/thresholds"],
    "threshold.weights": ["evaluation/predictor_scores"],
    "ensemble.method": ["evaluation/ensemble", "evaluation/predictions"],
    "submit.duplicates": ["evaluation/duplicate_decisions"],
}


@dataclass(frozen=True)
class Toy(Section):
    """One field of each kind."""

    count: int = setting(3, "", low=1, high=9)
    rate: float = setting(0.5, "", low=0.0)
    flag: bool = setting(False, "")
    word: str = setting("sine", "", ("sine", "cosine"))
    path: str = setting("", "")
    sides: tuple[int, ...] = setting((8,), "", low=4)
    shares: tuple[float, ...] = setting((0.5,), "", low=0)


def build(path: str, value: Any) -> Section:
    """Construct the section of a setting with this value, as a preset written in Python does."""
    section, name = path.split(".")
    return SECTIONS[section](**{name: value})


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("count", 2.0, "a whole number"),
        ("count", True, "a whole number"),
        ("count", "2", "a whole number"),
        ("count", 0, "1 to 9"),
        ("count", 10, "1 to 9"),
        ("rate", "0.5", "a number"),
        ("rate", False, "a number"),
        ("rate", -0.1, "at least 0.0"),
        ("rate", float("nan"), "at least 0.0"),
        ("rate", float("inf"), "a finite number"),
        ("flag", 1, "true or false"),
        ("flag", "true", "true or false"),
        ("word", "cosin", "one of sine cosine (did you mean cosine?)"),
        ("word", "", "one of sine cosine"),
        ("word", None, "a word"),
        ("path", 3, "a word"),
        ("sides", 8, "a tuple of whole numbers"),
        ("sides", [8], "a tuple of whole numbers"),
        ("sides", (8, 9.0), "a tuple of whole numbers"),
        ("sides", (8, True), "a tuple of whole numbers"),
        ("shares", (0.5, "1"), "a tuple of numbers"),
        ("sides", (8, 3), "at least 4"),
        ("sides", (), "at least one value"),
    ],
)
def test_a_wrong_value_is_rejected_on_construction(field, value, expected):
    with pytest.raises(UserError) as error:
        Toy(**{field: value})
    assert str(error.value).startswith(f"toy.{field}")
    assert f"expected {expected}" in str(error.value)
    assert "\n" not in str(error.value)


def test_right_values_are_accepted():
    toy = Toy(count=9, rate=0, flag=True, word="cosine", path="weights.pt", sides=(4, 1000), shares=(0, 0.5))
    assert dataclasses.astuple(toy) == (9, 0, True, "cosine", "weights.pt", (4, 1000), (0, 0.5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        toy.count = 2
    with pytest.raises(UserError):
        dataclasses.replace(toy, count=10)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("7", int, 7), ("1e-3", float, 0.001), ("TRUE", bool, True), ("false", bool, False),
        ("resnet18", str, "resnet18"), ("64,32", tuple[int, ...], (64, 32)), ("64", tuple[int, ...], (64,)),
        ("448,0.667", tuple[float, ...], (448.0, 0.667)),
    ],
)  # fmt: skip
def test_values_are_read_from_text_and_written_back(text, kind, value):
    read = settings.convert(text, kind)
    assert read == value and type(read) is type(value)
    assert settings.convert(settings.format_value(read), kind) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [("", int), ("1.5", int), ("fast", float), ("1", bool), ("yes", bool), ("64,", tuple[int, ...])],
)
def test_text_of_another_type_is_rejected(text, kind):
    with pytest.raises(ValueError):
        settings.convert(text, kind)


def test_a_similar_word_is_suggested_and_no_other():
    assert settings.nearest("trainig", SECTIONS) == " (did you mean training?)"
    assert settings.nearest("xyz", SECTIONS) == ""


def wrong_types(path: str) -> list[Any]:
    """Return values of other types than the setting's."""
    kind = ALL[path].type
    values = {int: [2.0, True, "2", None], float: ["2", True, None], bool: [1, "true", None], str: [3, None]}
    return values.get(kind) or [[64], 64, (64.0,) if kind == tuple[int, ...] else ("64",), "64"]


@pytest.mark.parametrize("path", ALL)
def test_every_setting_rejects_other_types(path):
    assert getattr(build(path, ALL[path].default), path.split(".")[1]) == ALL[path].default
    for value in wrong_types(path):
        with pytest.raises(UserError, match=rf"^{re.escape(path)}=.*: expected (a|true)"):
            build(path, value)


@pytest.mark.parametrize("path", WITH_CHOICES)
def test_every_setting_rejects_unknown_words_in_python_as_by_set(path):
    choices = ALL[path].metadata["choices"]
    assert ALL[path].default in choices
    for choice in choices:
        build(path, choice)
    for word in (choices[0] + "_", choices[0].swapcase(), ""):
        with pytest.raises(UserError) as in_python:
            build(path, word)
        with pytest.raises(UserError) as by_set:
            presets.load("smoke", [f"{path}={word}"])
        assert str(by_set.value) == f"--set {in_python.value}"
        assert f"{path}={word}: expected one of {' '.join(choices)}" in str(in_python.value)


@pytest.mark.parametrize("path", [path for path, item in ALL.items() if item.metadata["low"] is not None])
def test_every_setting_rejects_numbers_out_of_bounds_in_python_as_by_set(path):
    item = ALL[path]
    low, high = item.metadata["low"], item.metadata["high"]
    step = 1e-9 if item.type is float else 1
    for bound, outside in ((low, low - step), *([] if high is None else [(high, high + step)])):
        is_tuple = typing.get_origin(item.type) is tuple
        build(path, (bound,) if is_tuple else bound)
        with pytest.raises(UserError) as in_python:
            build(path, (outside,) if is_tuple else outside)
        with pytest.raises(UserError) as by_set:
            presets.load("smoke", [f"{path}={outside}"])
        assert str(by_set.value) == f"--set {in_python.value}"
        assert str(in_python.value).startswith(f"{path}={outside}: expected ")
        assert str(low) in str(in_python.value)


def test_numbers_are_bounded():
    for path, item in ALL.items():
        if item.type in (int, float):
            assert item.metadata["low"] is not None, f"{path} accepts any number"


@pytest.mark.parametrize("path", WITH_CHOICES)
def test_every_choice_is_handled(path):
    """Each word of three or more, and one of two, stands in the code that dispatches on the setting."""
    words = set()
    for module in HANDLED_IN[path]:
        nodes = list(ast.walk(ast.parse((ROOT / "lib" / f"{module}.py").read_text())))
        calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "setting"]
        declared = {id(node) for call in calls for node in ast.walk(call)}
        words |= {n.value for n in nodes if isinstance(n, ast.Constant) and id(n) not in declared}
    if path == "training.precision":  # the others are names of torch's types
        words |= {"float32", "bfloat16", "float16"}
    missing = set(ALL[path].metadata["choices"]) - words
    allowed = 1 if len(ALL[path].metadata["choices"]) == 2 else 0
    assert len(missing) <= allowed, f"{HANDLED_IN[path]} do not handle {path}={missing}"


def test_every_setting_with_choices_states_where_they_are_handled():
    assert set(HANDLED_IN) == set(WITH_CHOICES)


def test_every_loss_and_augmentation_is_implemented():
    from lib.learning import augment, losses

    assert set(LOSSES) == {*losses.MULTI_LABEL, "cross_entropy"}
    assert set(augment.KINDS) == set(ALL["training.augmentation"].metadata["choices"])


def test_every_way_of_computing_features_is_implemented():
    from lib.features import biological, table

    assert set(biological.DENOISERS) == set(ALL["features.denoise"].metadata["choices"])
    assert ALL["features.segmentation"].metadata["choices"] == biological.SEGMENTATIONS
    assert set(table.COLUMNS) == set(ALL["features.columns"].metadata["choices"])
