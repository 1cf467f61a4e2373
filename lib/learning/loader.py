"""Batches of cached uint8 images with features, targets and row numbers, in an order fixed by a seed."""

import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from multiprocessing.queues import Queue
from typing import NamedTuple

import numpy as np
import torch
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, Dataset, Sampler

from lib import signals
from lib.console import format_bytes, warn
from lib.data.opencv import use_one_thread
from lib.distributed import LOCAL_WORLD, RANK, WORLD
from lib.learning.augment import Augmentation, CutMix
from lib.learning.training_data import SampleSource

PREFETCH = 4  # batches that each loading process prepares
SHARED_MEMORY = "/dev/shm"  # holds the batches that loading processes have prepared
USED_SHARE = 0.9  # at most, of what is free there
BATCHES_IN_USE = 3  # taken from there and not released: the last one, the present one and the next


class Batch(NamedTuple):
    """A batch of samples; images are uint8, channel order R G B Y."""

    images_BHWK: torch.Tensor
    features_BF: torch.Tensor
    targets_BC: torch.Tensor
    rows_B: torch.Tensor


class SampleDataset(Dataset):
    """The samples of a source by (epoch, row).

    The index carries the epoch, so that augmentation differs from epoch to epoch in worker
    processes too.
    """

    def __init__(
        self, source: SampleSource, augmentation: Augmentation | None = None, cutmix: CutMix | None = None
    ) -> None:
        self.source, self.augmentation, self.cutmix = source, augmentation, cutmix

    def __getitem__(self, index: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Return image_HWK uint8, features_F and target_C float32, and row."""
        epoch, row = index
        image_HWK, target_C = self._augmented(epoch, row)
        mix = None if self.cutmix is None else self.cutmix.draw(len(image_HWK), epoch, row)
        if mix is not None:
            other, rectangle, share = mix
            other_HWK, other_C = self._augmented(epoch, other)
            image_HWK = image_HWK.copy()
            image_HWK[rectangle] = other_HWK[rectangle]
            target_C = (1 - share) * target_C + share * other_C
        return image_HWK, self.source.features_NF[row], target_C, row

    def _augmented(self, epoch: int, row: int) -> tuple[np.ndarray, np.ndarray]:
        image_HWK = self.source.images[row]
        if self.augmentation is not None:
            image_HWK = self.augmentation(image_HWK, epoch, row)
        truth_NC = self.source.truth_NC
        return image_HWK, np.zeros(0, np.float32) if truth_NC is None else truth_NC[row].astype(np.float32)


class EpochSampler(Sampler):
    """Batches of (epoch, row): shuffled by (seed, epoch), or in order without a seed.

    Where several processes train together, each gets a share of every batch. When shuffled, a last batch too
    small to give each process two samples is merged into the previous one: batch normalisation cannot train
    on one.

    Parameters
    ----------
    rows : ndarray of int
    batch_size : int
        Samples per batch, over all processes.
    seed : int or None
    weight_N : ndarray of float, or None
        Sampling weight of each row, with replacement; without it, each row occurs once per epoch.

    Attributes
    ----------
    epoch : int
        The next epoch.
    first : int
        Its first batch to return; earlier ones are skipped.
    """

    def __init__(
        self, rows: np.ndarray, batch_size: int, seed: int | None, weight_N: np.ndarray | None = None
    ) -> None:
        self.rows, self.batch_size, self.seed, self.weight_N = np.asarray(rows), batch_size, seed, weight_N
        self.epoch = self.first = 0
        self._edges = [*range(0, len(self.rows), self.batch_size), len(self.rows)]
        if self.seed is not None and len(self._edges) > 2 and self._edges[-1] - self._edges[-2] < 2 * WORLD:
            del self._edges[-2]

    def __len__(self) -> int:
        return len(self._edges) - 1 - self.first

    @property
    def sizes(self) -> list[int]:
        """Number of samples of each batch of an epoch, over all processes."""
        return np.diff(self._edges).tolist()

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rows = self.rows
        if self.seed is not None:
            random = np.random.default_rng([self.seed, self.epoch])
            if self.weight_N is None:
                rows = random.permutation(rows)
            else:
                rows = random.choice(rows, len(rows), p=self.weight_N / self.weight_N.sum())
        for start, end in list(itertools.pairwise(self._edges))[self.first :]:
            mine = rows[start:end][RANK::WORLD]
            if len(mine):  # empty at the end of an evaluation
                yield [(self.epoch, int(row)) for row in mine]


def rarity(truth_NC: np.ndarray) -> np.ndarray:
    """Return sampling weights: the root of the inverse frequency of each sample's rarest class.

    Shape (N,), float64; samples without any class weigh like those of the most frequent class.
    """
    weight_C = 1 / np.sqrt(np.maximum(truth_NC.sum(axis=0), 1))
    return np.maximum((truth_NC * weight_C).max(axis=1), weight_C.min())


def make_loader(
    source: SampleSource,
    rows: np.ndarray,
    batch_size: int,
    workers: int,
    seed: int | None = None,
    augmentation: Augmentation | None = None,
    weight_N: np.ndarray | None = None,
    cutmix: float = 0.0,
) -> DataLoader:
    """Return a loader of `Batch`es of the given rows: shuffled if a seed is given, else in order.

    ``loader.batch_sampler`` is an `EpochSampler`, which takes `weight_N`; its ``epoch`` must be set. Fewer
    processes than `workers` load where the shared memory is too small for their batches. `cutmix` is the
    share of the samples that are mixed with another, which needs a seed.
    """
    mix = CutMix(cutmix, seed, rows, weight_N) if cutmix else None
    dataset = SampleDataset(source, augmentation, mix)
    prefetch = PREFETCH
    if workers:
        use_one_thread()  # before the fork: a process that inherits OpenCV's locks may wait for them for ever
        sample = sum(np.asarray(part).nbytes for part in dataset[0, 0])
        workers, prefetch = fit_shared_memory(workers, sample * -(-batch_size // WORLD))
    return DataLoader(
        dataset,
        batch_sampler=EpochSampler(rows, batch_size, seed, weight_N),
        collate_fn=_collate,
        num_workers=workers,
        # a fork starts fastest, also where another way is Python's default (3.14), or that of this process's
        # parent
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        persistent_workers=workers > 0,  # from epoch to epoch: beside a GPU, 16 take a second to start
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=_start_worker,
        # otherwise it would draw from torch's global generator at the start of every epoch, and dropout would
        # differ after a resume
        generator=torch.Generator(),
    )


def fit_shared_memory(workers: int, batch_bytes: int) -> tuple[int, int]:
    """Return how many processes can load images, and how many batches each can prepare, in shared memory.

    Batches wait there until they are used; a container has 64 MB of it by default. A warning tells when there
    are fewer processes than wanted.

    Parameters
    ----------
    workers : int
        Wanted.
    batch_bytes : int
        Size of a batch of one training process.
    """
    if sys.platform != "linux":
        return workers, PREFETCH
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        free = 0
    share = free * USED_SHARE / LOCAL_WORLD
    batches = max(int(share / batch_bytes) - BATCHES_IN_USE, 0)
    if batches >= workers:
        return workers, min(batches // workers, PREFETCH)
    warn(
        f"{SHARED_MEMORY} has {format_bytes(free)} free, too little for {workers} processes that load "
        f"batches of {format_bytes(batch_bytes)}: {batches or 'none'} instead, which is slower; start the "
        f"container with more, for example `docker run --shm-size=2g`, or set --workers {max(batches, 1)}"
    )
    return batches, 1


def _start_worker(_number: int) -> None:
    signals.follow(os.getppid())
    use_one_thread()
    Queue._on_queue_feeder_error = _send_error


def _send_error(queue: Queue, error: Exception, item: tuple[int, Batch]) -> None:
    """Send an error in place of a batch that cannot be sent, for example for lack of shared memory.

    Python would only print it, and the training process would wait for the batch for ever.
    """
    where = f"in a process that loads images, while it sent a batch ({error})"
    queue.put((item[0], ExceptionWrapper(where=where)))


def _collate(samples: list[tuple]) -> Batch:
    *arrays, rows = zip(*samples, strict=True)
    return Batch(*(torch.from_numpy(np.stack(array)) for array in arrays), torch.tensor(rows))
