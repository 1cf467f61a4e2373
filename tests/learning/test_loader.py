import itertools
import multiprocessing
import os
import signal
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from lib import machine
from lib.data import cache
from lib.learning import loader
from lib.learning.augment import Augmentation
from lib.learning.loader import EpochSampler, make_loader, rarity
from lib.learning.training_data import SampleSource
from lib.sections import Training
from tests.conftest import write_kaggle

IDS = [f"a{row:02d}" for row in range(20)]


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loader")
    raw = write_kaggle(folder / "raw")
    cache.build(raw, folder / "cache", "train", IDS, (16,), 8, workers=1)
    return cache.ShardedArray(folder / "cache" / "train_16")


def batches_of(array, workers, epoch, seed=5, cutmix=0.0, **settings):
    source = SampleSource(array, IDS, np.eye(20, 28, dtype=bool))
    augmentation = Augmentation(Training(size=16, seed=seed, **settings))
    how = {"augmentation": augmentation, "cutmix": cutmix}
    batches = make_loader(source, np.arange(20), 6, workers, seed=seed, **how)
    batches.batch_sampler.epoch = epoch
    return list(batches)


def images_by_row(batches):
    pairs = [pair for batch in batches for pair in zip(batch.rows_B.tolist(), batch.images_BHWK, strict=True)]
    return dict(pairs)


EVERYTHING = {"cutmix": 0.5, "crop": (16,), "intensity": 0.2, "channel_dropout": 0.2}


@pytest.mark.parametrize("options", [{}, EVERYTHING])
def test_worker_processes_change_nothing_and_epochs_everything(array, options):
    alone = batches_of(array, 0, epoch=1, **options)
    for ours, theirs in zip(alone, batches_of(array, 2, epoch=1, **options), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    other = batches_of(array, 0, epoch=2, **options)
    images, images_other = images_by_row(alone), images_by_row(other)
    assert sorted(images) == sorted(images_other) == list(range(20))
    same = sum(torch.equal(images[row], images_other[row]) for row in images)
    assert same <= 1, "augmentation repeats from epoch to epoch"
    assert [batch.rows_B.tolist() for batch in alone] != [batch.rows_B.tolist() for batch in other]


@pytest.mark.parametrize(
    ("megabytes", "expected"),
    [(2000, (4, 4)), (160, (4, 3)), (100, (4, 1)), (60, (3, 1)), (20, (0, 1)), (0, (0, 1))],
)
def test_batches_fit_into_the_shared_memory(monkeypatch, capsys, megabytes, expected):
    monkeypatch.setattr(loader.shutil, "disk_usage", lambda _: SimpleNamespace(free=megabytes * 1e6))
    assert loader.fit_shared_memory(4, 8_400_000) == expected
    error = capsys.readouterr().err
    assert bool(error) == (expected[0] < 4)
    for piece in ("/dev/shm", "docker run --shm-size", "--workers") if error else ():
        assert piece in error


def test_training_processes_divide_the_shared_memory(monkeypatch):
    monkeypatch.setattr(loader.shutil, "disk_usage", lambda _: SimpleNamespace(free=320e6))
    monkeypatch.setattr(loader, "LOCAL_WORLD", 2)
    assert loader.fit_shared_memory(4, 8_400_000) == (4, 3)  # as one alone of 160 MB


def test_without_shared_memory_this_process_loads(array, monkeypatch, capsys):
    monkeypatch.setattr(loader, "SHARED_MEMORY", "/nowhere")
    batches = make_loader(SampleSource(array, IDS), np.arange(20), 6, workers=2)
    assert batches.num_workers == 0 and "/nowhere" in capsys.readouterr().err
    assert len(list(batches)) == 4


def too_little(*_arguments):
    raise RuntimeError("unable to allocate shared memory(shm) for file: No space left on device (28)")


def test_a_batch_that_cannot_be_sent_is_an_error_here(array, monkeypatch):
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", too_little)  # in the forked processes too
    monkeypatch.setattr(torch.UntypedStorage, "_share_filename_cpu_", too_little)
    batches = make_loader(SampleSource(array, IDS), np.arange(20), 6, workers=1)
    batches.timeout = 60  # else it would wait for ever
    with pytest.raises(RuntimeError, match="unable to allocate shared memory") as error:
        list(batches)
    assert "--shm-size" in machine.explain(error.value)


def test_opencvs_threads_end_before_processes_are_forked(array):
    """A forked process that reduced their number itself would now and then wait for them for ever."""
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        make_loader(SampleSource(array, IDS), np.arange(20), 6, workers=0)
        assert cv2.getNumThreads() == 3
        make_loader(SampleSource(array, IDS), np.arange(20), 6, workers=2)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(threads)


def test_processes_stay_from_epoch_to_epoch_and_start_anywhere_in_one(array):
    source = SampleSource(array, IDS, np.eye(20, 28, dtype=bool))
    how = {"seed": 5, "augmentation": Augmentation(Training(size=16, seed=5))}
    alone, shared = (make_loader(source, np.arange(20), 6, workers, **how) for workers in (0, 2))
    processes = []
    for epoch, first, read in ((0, 0, 4), (1, 0, 1), (2, 2, 4), (2, 0, 4)):  # the second is left unfinished
        for batches in (alone, shared):
            batches.batch_sampler.epoch, batches.batch_sampler.first = epoch, first
        ours, theirs = (list(itertools.islice(batches, read)) for batches in (shared, alone))
        assert len(ours) == len(theirs) == min(read, 4 - first)
        for our, their in zip(ours, theirs, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(our, their, strict=True))
        processes.append([process.pid for process in shared._iterator._workers])
    assert all(each == processes[0] for each in processes)


class OfChild:
    """Images that are 1 in a process that is a child of the one that made them."""

    def __init__(self):
        self.parent = os.getpid()

    def __getitem__(self, row):
        return np.full((4, 4, 4), os.getppid() == self.parent, np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems start processes in their own way")
def test_processes_are_forked_whatever_the_default_is():
    default = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        batches = list(make_loader(SampleSource(OfChild(), IDS), np.arange(20), 6, workers=1))
    finally:
        multiprocessing.set_start_method(default, force=True)
    assert len(batches) == 4 and all(batch.images_BHWK.all() for batch in batches)


class Killed:
    """Images whose process is killed."""

    def __init__(self):
        self.parent = os.getpid()

    def __getitem__(self, row):
        if os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((4, 4, 4), np.uint8)


def test_a_killed_process_is_an_error_here():
    batches = make_loader(SampleSource(Killed(), IDS), np.arange(20), 6, workers=1)
    with pytest.raises(RuntimeError) as error:
        list(batches)
    assert "--workers" in machine.explain(error.value)


def test_batches_carry_bytes_targets_and_rows(array):
    batch = batches_of(array, 0, epoch=0)[0]
    assert batch.images_BHWK.shape == (6, 16, 16, 4) and batch.images_BHWK.dtype == torch.uint8
    assert batch.targets_BC.shape == (6, 28) and batch.targets_BC.dtype == torch.float32
    assert batch.targets_BC.argmax(dim=1).tolist() == batch.rows_B.tolist()
    assert batch.features_BF.shape == (6, 0)


def test_mixed_samples_have_pixels_and_labels_of_two_by_area(array):
    plain = images_by_row(batches_of(array, 0, epoch=3, augmentation="none"))
    mixed = 0
    for batch in batches_of(array, 0, epoch=3, augmentation="none", cutmix=0.7):
        for row, image_HWK, target_C in zip(
            batch.rows_B.tolist(), batch.images_BHWK, batch.targets_BC, strict=True
        ):
            (labels,) = np.nonzero(target_C.numpy())  # sample n has class n
            others = [label for label in labels.tolist() if label != row]
            assert target_C.sum().item() == pytest.approx(1) and len(others) <= 1
            for other in others:
                theirs = (image_HWK == plain[other]).all(dim=-1)
                assert theirs.float().mean().item() == pytest.approx(target_C[other].item(), abs=1e-6)
                assert ((image_HWK == plain[row]).all(dim=-1) | theirs).all()
            if not others:
                assert torch.equal(image_HWK, plain[row])
            mixed += len(others)
    assert 8 <= mixed <= 19


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
