"""What of other weights a head takes, and the normalisation that lies with them."""

import pytest
import torch

from lib.errors import UserError
from lib.learning.origin import Origin
from lib.learning.pooled_heads import PooledHead
from lib.sections import Network
from tests.learning.tiny import describe

AVGMAX = describe(Network(architecture="test_resnet", head="avgmax"))


def heads(outputs=3):
    """Return a head that is given, and another one of the same form."""
    return [PooledHead("avgmax", "own", [6], count, 0.0) for count in (3, outputs)]


def origin_of(head, **changes):
    rest = {f"head.{name}": value for name, value in head.state_dict().items()}
    fields = dict(rest=rest, outputs=AVGMAX.outputs, is_complete=True) | changes
    return Origin({"source": "w.pth"}, 4, **fields)


@pytest.mark.parametrize(
    ("changes", "last", "complete"),
    [({}, True, True), ({"outputs": ["x", "y", "z"]}, False, False), ({"is_complete": False}, True, False)],
)
def test_the_last_layer_is_taken_for_the_same_outputs_alone(changes, last, complete):
    given, own = heads()
    assert origin_of(given, **changes).copy_head(own, AVGMAX) == complete
    assert torch.equal(own.neck.fc1.weight, given.neck.fc1.weight)
    assert torch.equal(own.last.weight, given.last.weight) == last


def test_tensors_of_other_shapes_and_missing_ones_stay_as_they_are():
    given, own = heads(outputs=5)
    before = own.last.weight.clone()
    assert not origin_of(given).copy_head(own, AVGMAX)
    assert torch.equal(own.last.weight, before) and torch.equal(own.neck.fc1.bias, given.neck.fc1.bias)
    assert not Origin({}, is_complete=True).copy_head(own, AVGMAX)


def test_a_backbones_own_last_layer_makes_it_complete_unless_another_one_follows():
    plain = describe(Network(architecture="test_resnet"))
    headed = describe(Network(architecture="test_resnet"), 5, heads=[[0], [1, 2]])
    assert Origin({}, is_complete=True).copy_head(None, plain)
    assert not Origin({}).copy_head(None, plain)
    assert not Origin({}, is_complete=True).copy_head(None, headed)


def test_mean_and_std_are_those_of_the_file_for_every_channel():
    rest = {name: torch.tensor(values).view(1, -1, 1, 1) for name, values in
            {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}.items()}  # fmt: skip
    given = Origin({"source": "w.pth"}, 3, rest)
    assert given.statistics(3) == ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    with pytest.raises(UserError, match=r"network\.normalisation=start: w\.pth .* 4 channels.*=standard"):
        given.statistics(4)
