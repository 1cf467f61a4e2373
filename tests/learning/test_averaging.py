import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from lib.learning.averaging import make_average, recompute_statistics
from lib.learning.loader import make_loader
from tests.learning import train_toy
from tests.learning.train_toy import SETTINGS


class Normalised(nn.Module):
    """Batch normalisation of the channels' mean grey levels, with dropout behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout, self.last = nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, images_BHWK, features_BF):
        return self.last(self.dropout(self.norm(images_BHWK.float().mean(dim=(1, 2)))))


def loader():
    return make_loader(train_toy.source(), np.arange(33), 8, 0, seed=0)


def test_the_average_is_that_of_the_settings():
    toy = train_toy.Toy()
    assert make_average(toy, SETTINGS) is None
    decaying = make_average(toy, dataclasses.replace(SETTINGS, ema_decay=0.9))
    # 1 - n ** -0.75 at step n, up to the decay
    assert [decaying.get_decay(step) for step in (1, 3, 10, 10_000)] == pytest.approx(
        [0.0, 1 - 3**-0.75, 1 - 10**-0.75, 0.9]
    )
    equal = make_average(toy, dataclasses.replace(SETTINGS, average_epochs=2))
    for value in (1.0, 2.0, 6.0):
        with torch.no_grad():
            toy.layers[0].weight.fill_(value)
        equal.update_parameters(toy)
    assert torch.allclose(equal.module.layers[0].weight, torch.tensor(3.0))


def test_statistics_are_those_of_an_epochs_batches_whatever_they_were():
    torch.manual_seed(0)
    model, batches, calls = Normalised().eval(), loader(), []
    model.norm.running_mean.fill_(1e6)
    batches.batch_sampler.first = 2  # resumed within the epoch
    before = torch.get_rng_state()
    recompute_statistics(model, batches, SETTINGS, "float32", lambda: calls.append(1))
    assert torch.equal(torch.get_rng_state(), before) and not model.training and len(calls) == 4
    means = torch.stack([batch.images_BHWK.float().mean(dim=(1, 2, 0)) for batch in loader()])
    assert torch.allclose(model.norm.running_mean, means.mean(dim=0), rtol=1e-5)
    assert model.norm.momentum == 0.1 and not model.norm.weight.grad


def test_a_network_without_batch_normalisation_is_left_alone():
    toy = train_toy.Toy()
    recompute_statistics(toy, loader(), SETTINGS, "float32", lambda: pytest.fail("a pass over the samples"))
