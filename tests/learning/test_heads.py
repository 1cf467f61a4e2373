import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.learning.heads import GroupHeads


def test_a_label_has_the_probability_of_its_group_times_its_own_within_the_group():
    torch.manual_seed(0)
    heads = GroupHeads(5, [[2, 0], [1, 3, 4]], width=4, dropout=0.5).eval()
    representation_BR = torch.randn(3, 5)
    predicted = heads(representation_BR).sigmoid()
    group_BG = heads.group(representation_BR).sigmoid()
    first, second = (head(representation_BR).sigmoid() for head in heads.heads)
    expected = [
        group_BG[:, 0] * first[:, 1], group_BG[:, 1] * second[:, 0], group_BG[:, 0] * first[:, 0],
        group_BG[:, 1] * second[:, 1], group_BG[:, 1] * second[:, 2], group_BG[:, 0], group_BG[:, 1],
    ]  # fmt: skip
    assert torch.allclose(predicted, torch.stack(expected, dim=1), atol=1e-6)


def test_confident_heads_still_have_a_gradient():
    heads = GroupHeads(1, [[0], [1]], width=2, dropout=0.0)
    for sign in (1.0, -1.0):
        with torch.no_grad():
            heads.group.bias.fill_(sign * 60)
            for head in heads.heads:
                head[-1].bias.fill_(sign * 60)
        logits = heads(torch.ones(1, 1))
        targets = torch.full_like(logits, float(sign < 0))  # all wrong
        gradient = torch.autograd.grad(binary_cross_entropy_with_logits(logits, targets), heads.group.bias)[0]
        assert torch.isfinite(logits).all() and torch.isfinite(gradient).all() and gradient.abs().min() > 0.1


def test_each_head_has_its_own_layers_and_dropout():
    heads = GroupHeads(6, [[0, 1], [2]], width=4, dropout=0.3)
    assert [head[-1].out_features for head in heads.heads] == [2, 1]
    assert all((head[0].in_features, head[0].out_features, head[2].p) == (6, 4, 0.3) for head in heads.heads)
    assert heads(torch.zeros(2, 6)).shape == (2, 3 + 2)
