import numpy as np
import pandas as pd
import pytest
import torch

from lib.data import cache
from lib.learning import loader
from lib.learning.augment import Augmentation
from lib.learning.loader import EpochSampler, make_loader, rarity
from lib.learning.training_data import SampleSource
from tests.conftest import write_kaggle

IDS = [f"a{row:02d}" for row in range(20)]


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loader")
    raw = write_kaggle(folder / "raw")
    cache.build(raw, folder / "cache", "train", IDS, (16,), 8, workers=1)
    return cache.ShardedArray(folder / "cache" / "train_16")


def batches_of(array, workers, epoch, seed=5):
    source = SampleSource(array, IDS, np.eye(20, 28, dtype=bool))
    augmentation = Augmentation("flips_affine", seed)
    batches = make_loader(source, np.arange(20), 6, workers, seed=seed, augmentation=augmentation)
    batches.batch_sampler.epoch = epoch
    return list(batches)


def images_by_row(batches):
    pairs = [pair for batch in batches for pair in zip(batch.rows_B.tolist(), batch.images_BHWK, strict=True)]
    return dict(pairs)


def test_worker_processes_change_nothing_and_epochs_everything(array):
    alone = batches_of(array, 0, epoch=1)
    for ours, theirs in zip(alone, batches_of(array, 2, epoch=1), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    other = batches_of(array, 0, epoch=2)
    images, images_other = images_by_row(alone), images_by_row(other)
    assert sorted(images) == sorted(images_other) == list(range(20))
    same = sum(torch.equal(images[row], images_other[row]) for row in images)
    assert same <= 1, "augmentation repeats from epoch to epoch"
    assert [batch.rows_B.tolist() for batch in alone] != [batch.rows_B.tolist() for batch in other]


def test_batches_carry_bytes_targets_and_rows(array):
    batch = batches_of(array, 0, epoch=0)[0]
    assert batch.images_BHWK.shape == (6, 16, 16, 4) and batch.images_BHWK.dtype == torch.uint8
    assert batch.targets_BC.shape == (6, 28) and batch.targets_BC.dtype == torch.float32
    assert batch.targets_BC.argmax(dim=1).tolist() == batch.rows_B.tolist()
    assert batch.features_BF.shape == (6, 0)


def test_batches_carry_the_features_of_their_rows(array):
    features = pd.DataFrame({"one": np.arange(20) / 10, "two": np.nan})
    for batch in make_loader(SampleSource(array, IDS, None, features), np.arange(20), 6, 0, seed=3):
        assert batch.features_BF.dtype == torch.float32
        assert torch.allclose(batch.features_BF[:, 0], batch.rows_B / 10)
        assert batch.features_BF[:, 1].isnan().all()


def test_without_seed_rows_come_in_order_unchanged(array):
    first, second = make_loader(SampleSource(array, IDS), np.array([3, 9, 17]), 2, 0)
    assert first.rows_B.tolist() == [3, 9] and second.rows_B.tolist() == [17]
    assert np.array_equal(first.images_BHWK[1].numpy(), array[9]) and first.targets_BC.shape == (2, 0)


def test_loading_draws_nothing_from_torchs_global_generator(array):
    before = torch.get_rng_state()
    batches_of(array, 0, epoch=0)
    assert torch.equal(torch.get_rng_state(), before)  # otherwise dropout would differ after a resume


def test_no_training_batch_holds_one_sample():
    sampler = EpochSampler(np.arange(13), 4, seed=0)
    assert [len(batch) for batch in sampler] == [4, 4, 5] and len(sampler) == 3
    assert [len(batch) for batch in EpochSampler(np.arange(13), 4, seed=None)] == [4, 4, 4, 1]
    assert [len(batch) for batch in EpochSampler(np.arange(1), 4, seed=0)] == [1]


def test_processes_share_every_batch_and_each_sample_belongs_to_one(monkeypatch):
    def of_rank(rank, world, seed, rows=22):
        monkeypatch.setattr(loader, "RANK", rank)
        monkeypatch.setattr(loader, "WORLD", world)
        sampler = EpochSampler(np.arange(rows), 4, seed)
        return sampler.sizes, [[row for _, row in batch] for batch in sampler]

    sizes, alone = of_rank(0, 1, seed=3)
    assert sizes == [4, 4, 4, 4, 4, 2] == [len(batch) for batch in alone]
    flat = [row for batch in alone for row in batch]
    for world in (2, 3):
        by_rank = [of_rank(rank, world, seed=3) for rank in range(world)]
        sizes = by_rank[0][0]
        assert sizes == [4, 4, 4, 4, 6]  # a last batch of two would leave a process with less than two
        for number in range(len(sizes)):
            together = sorted(row for _, batches in by_rank for row in batches[number])
            assert together == sorted(flat[sum(sizes[:number]) : sum(sizes[: number + 1])])
    by_rank = [of_rank(rank, 3, seed=None, rows=5)[1] for rank in range(3)]
    assert sorted(row for batches in by_rank for batch in batches for row in batch) == [0, 1, 2, 3, 4]


def test_an_epoch_resumes_at_any_batch():
    sampler = EpochSampler(np.arange(22), 4, seed=3)
    whole = list(sampler)
    sampler.first = 2
    assert list(sampler) == whole[2:] and len(sampler) == 4


def test_rare_classes_are_drawn_more_often():
    truth_NC = np.zeros((100, 3), bool)
    truth_NC[:, 0] = True
    truth_NC[:4, 1] = True
    weight_N = rarity(truth_NC)
    assert weight_N[0] / weight_N[50] == pytest.approx(np.sqrt(100 / 4))
    sampler = EpochSampler(np.arange(100), 10, seed=1, weight_N=weight_N)
    drawn = []
    for epoch in range(40):
        sampler.epoch = epoch
        drawn += [row for batch in sampler for _, row in batch]
    assert len(drawn) == 4000
    share = np.mean(np.array(drawn) < 4)
    assert share == pytest.approx(4 * 5 / (4 * 5 + 96), abs=0.02)


def test_a_sample_without_classes_weighs_as_one_of_the_most_frequent():
    truth_NC = np.array([[True, False], [True, False], [True, True], [False, False]])
    assert rarity(truth_NC) == pytest.approx([3**-0.5, 3**-0.5, 1, 3**-0.5])
