import json

import pytest

from lib.errors import UserError
from lib.labels import CLASSES
from lib.learning.losses import ACTIVATIONS
from lib.learning.network_spec import ACTIVATION_NAMES, NetworkSpec

SPEC = NetworkSpec("resnet18", "RGBY", 64, "standard", ["a", "b", "c"], [3, 5], features=["x", "y"])


def test_a_description_survives_its_file(tmp_path):
    for spec in (SPEC, NetworkSpec("resnet18", "RGB", 64, "unit", ["a", "b", "g"], None, heads=[[1, 0]])):
        spec.write(tmp_path)
        assert NetworkSpec.read(tmp_path) == spec


def test_the_names_of_the_activations_are_those_that_are_implemented():
    assert set(ACTIVATION_NAMES) == set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"channels": "BGRY"}, ("channels=BGRY", "RGBY RGB")),
        ({"size": -64}, ("size=-64",)),
        ({"size": "64"}, ("size", "whole number")),
        ({"normalisation": "none"}, ("normalisation=none", "standard image unit")),
        ({"outputs": []}, ("outputs",)),
        ({"outputs": "abc"}, ("outputs", "list")),
        ({"classes": []}, ("classes []",)),
        ({"classes": [3, 3]}, ("classes [3, 3]",)),
        ({"classes": [3, 28]}, ("classes [3, 28]",)),
        ({"classes": [-1]}, ("classes [-1]",)),
        ({"classes": list(range(len(CLASSES)))}, ("classes",)),
        ({"activation": "relu"}, ("relu", "sigmoid softmax")),
        ({"precision": "int4"}, ("precision=int4",)),
        ({"array_size": -1}, ("array_size=-1",)),
        ({"tta_crops": 4}, ("tta_side 0", "1 to 64")),
        ({"tta_crops": 4, "tta_side": 96}, ("tta_side 96", "1 to 64")),
        ({"tta_combine": "median"}, ("tta_combine=median",)),
        ({"dropout": 2.0}, ("dropout=2.0",)),
        ({"features": ["x", "x"]}, ("features",)),
        ({"feature_scaling": "log"}, ("feature_scaling=log",)),
        ({"fusion": "early"}, ("fusion=early", "pooled linear logits")),
        ({"fusion_width": 10**9}, ("fusion_width",)),
        ({"heads": [[0, 0]]}, ("heads",)),
        ({"heads": [[0, 1], []]}, ("heads",)),
        ({"initial_weights": {"source": 1}}, ("initial_weights",)),
        ({"colour": "red"}, ("unknown entry 'colour'",)),
    ],
)
@pytest.mark.parametrize("name", ["baseline", "stage_1"])
def test_an_edited_description_is_one_line(tmp_path, changes, messages, name):
    SPEC.write(tmp_path / name)
    path = tmp_path / name / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError) as error:
        NetworkSpec.read(tmp_path / name)
    script = {"baseline": "02_train_cnn.py", "stage_1": "03_train_hier.py"}[name]
    for text in (str(path), *messages, f"delete it and run `python {script}`"):
        assert text in str(error.value)
