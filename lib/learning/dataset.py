"""Cached rows to batches: uint8 images, targets and row numbers, in an order that a seed fixes."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lib.images.arrays import ShardedArray
from lib.images.augment import Augmentation

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # images_BHWK, targets_BC, rows_B


class SampleDataset(Dataset):
    """Images and targets by (epoch, row).

    The index carries the epoch, so that augmentation differs from epoch to epoch in worker
    processes too.

    Parameters
    ----------
    array : ShardedArray
    truth_NC : ndarray of shape (N, C), bool, or None
        Targets by row; zeros are given without it.
    augmentation : Augmentation or None
    """

    def __init__(
        self, array: ShardedArray, truth_NC: np.ndarray | None, augmentation: Augmentation | None = None
    ):
        self.array, self.truth_NC, self.augmentation = array, truth_NC, augmentation

    def __getitem__(self, index: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, int]:
        """Return image_HWK uint8, target_C float32 and row."""
        epoch, row = index
        image_HWK = self.array[row]
        if self.augmentation is not None:
            image_HWK = self.augmentation(image_HWK, epoch, row)
        target_C = (
            self.truth_NC[row].astype(np.float32) if self.truth_NC is not None else np.zeros(0, np.float32)
        )
        return image_HWK, target_C, row


class EpochSampler(Sampler):
    """Batches of (epoch, row): shuffled by (seed, epoch), or in order without a seed.

    A last batch of a single sample is joined to the one before it when shuffled (batch
    normalisation cannot train on one sample).
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int | None) -> None:
        self.rows, self.batch_size, self.seed, self.epoch = np.asarray(rows), batch_size, seed, 0

    def __len__(self) -> int:
        return len(self._edges()) - 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rows = self.rows
        if self.seed is not None:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        for start, end in itertools.pairwise(self._edges()):
            yield [(self.epoch, int(row)) for row in rows[start:end]]

    def _edges(self) -> list[int]:
        edges = [*range(0, len(self.rows), self.batch_size), len(self.rows)]
        if self.seed is not None and len(edges) > 2 and edges[-1] - edges[-2] == 1:
            del edges[-2]
        return edges


def make_loader(
    array: ShardedArray,
    truth_NC: np.ndarray | None,
    rows: np.ndarray,
    batch_size: int,
    workers: int,
    seed: int | None = None,
    augmentation: Augmentation | None = None,
) -> DataLoader:
    """Return batches of the given rows: shuffled where a seed is given, else in their order.

    Yields images_BHWK uint8 (R G B Y), targets_BC float32 and rows_B int64. ``loader.batch_sampler.epoch``
    says which epoch is drawn.
    """
    return DataLoader(
        SampleDataset(array, truth_NC, augmentation),
        batch_sampler=EpochSampler(rows, batch_size, seed),
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )


def _collate(samples: list[tuple[np.ndarray, np.ndarray, int]]) -> Batch:
    images, targets, rows = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets)), torch.tensor(rows)
