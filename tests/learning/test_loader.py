import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from lib.data import cache
from lib.learning import augment, loader
from lib.learning.augment import Augmentation
from lib.learning.loader import EpochSampler, Source, make_loader, rarity

IDS = [f"a{row:02d}" for row in range(20)]


@pytest.fixture
def array(raw, tmp_path):
    cache.build(raw, tmp_path / "cache", "train", IDS, (16,), 8, workers=1)
    return cache.ShardedArray(tmp_path / "cache" / "train_16")


def batches_of(array, workers, epoch, seed=5):
    augmentation = Augmentation("flips_affine", seed)
    truth_NC = np.eye(20, 28, dtype=bool)
    loader = make_loader(
        Source(array, IDS, truth_NC), np.arange(20), 6, workers, seed=seed, augmentation=augmentation
    )
    loader.batch_sampler.epoch = epoch
    return list(loader)


def test_workers_change_nothing_and_epochs_everything(array):
    alone = batches_of(array, 0, epoch=1)
    for workers in (1, 2):
        for ours, theirs in zip(alone, batches_of(array, workers, epoch=1), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    other = batches_of(array, 0, epoch=2)
    images, images_other = (
        {
            int(row): image
            for batch in batches
            for image, row in zip(batch.images_BHWK, batch.rows_B, strict=True)
        }
        for batches in (alone, other)
    )
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


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_carry_the_features_of_their_rows(array, workers):
    features = pd.DataFrame({"one": np.arange(20) / 10, "two": np.nan})
    source = Source(array, IDS, None, features)
    for batch in make_loader(source, np.arange(20), 6, workers, seed=3):
        assert batch.features_BF.dtype == torch.float32
        assert torch.allclose(batch.features_BF[:, 0], batch.rows_B / 10)
        assert batch.features_BF[:, 1].isnan().all()


def test_without_seed_rows_come_in_order_unchanged(array):
    loader = make_loader(Source(array, IDS), np.array([3, 9, 17]), 2, 0)
    first, second = list(loader)
    assert first.rows_B.tolist() == [3, 9] and second.rows_B.tolist() == [17]
    assert np.array_equal(first.images_BHWK[1].numpy(), array[9]) and first.targets_BC.shape == (2, 0)


def test_no_training_batch_holds_one_sample():
    sampler = EpochSampler(np.arange(13), 4, seed=0)
    assert [len(batch) for batch in sampler] == [4, 4, 5] and len(sampler) == 3
    assert [len(batch) for batch in EpochSampler(np.arange(13), 4, seed=None)] == [4, 4, 4, 1]
    assert [len(batch) for batch in EpochSampler(np.arange(1), 4, seed=0)] == [1]


def test_processes_share_every_batch_and_every_sample_once(monkeypatch):
    def of_rank(rank, world, seed, rows=22):
        monkeypatch.setattr(loader, "RANK", rank)
        monkeypatch.setattr(loader, "WORLD", world)
        sampler = EpochSampler(np.arange(rows), 4, seed)
        return sampler.sizes, [[row for _, row in batch] for batch in sampler]

    sizes, alone = of_rank(0, 1, seed=3)
    assert sizes == [4, 4, 4, 4, 4, 2] == [len(batch) for batch in alone]
    for world in (2, 3):
        parts = [of_rank(rank, world, seed=3) for rank in range(world)]
        sizes = parts[0][0]
        assert sizes == [4, 4, 4, 4, 6]  # a last one of two would leave a process with less than two
        for number in range(len(sizes)):
            together = sorted(row for _, batches in parts for row in batches[number])
            flat = [row for batch in alone for row in batch]
            assert together == sorted(flat[sum(sizes[:number]) : sum(sizes[: number + 1])])
    parts = [of_rank(rank, 3, seed=None, rows=5)[1] for rank in range(3)]
    assert sorted(row for batches in parts for batch in batches for row in batch) == [0, 1, 2, 3, 4]


def test_an_epoch_is_gone_on_with_at_any_batch():
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


def test_flips_are_the_eight_of_the_square():
    image_HWK = np.arange(4 * 4 * 4, dtype=np.uint8).reshape(4, 4, 4)
    eight = {
        np.ascontiguousarray(np.rot90(turned, k)).tobytes()
        for turned in (image_HWK, image_HWK[::-1])
        for k in range(4)
    }
    change = Augmentation("flips", seed=0)
    seen = {change(image_HWK, epoch=0, row=row).tobytes() for row in range(200)}
    assert seen == eight


@pytest.mark.parametrize("kind", augment.KINDS)
def test_augmentations_keep_shape_and_kind_and_are_understood(kind):
    image_HWK = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    before = image_HWK.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a wrong argument is only warned about, then ignored
        changed_HWK = Augmentation(kind, seed=1)(image_HWK, 0, 0)
    assert changed_HWK.shape == image_HWK.shape and changed_HWK.dtype == np.uint8
    assert np.array_equal(image_HWK, before)
    assert (kind == "none") == np.array_equal(changed_HWK, image_HWK)


def test_wrong_arguments_would_be_noticed():
    import albumentations as A

    with pytest.warns(UserWarning, match="not valid"):
        A.Affine(mode=1)
