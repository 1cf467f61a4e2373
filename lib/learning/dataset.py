"""Cached rows to batches: uint8 images, features, targets, row numbers, in an order that a seed fixes."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lib.images.arrays import ShardedArray
from lib.images.augment import Augmentation


class Source(NamedTuple):
    """Where the samples of a subset of Kaggle's come from, all by row number.

    Attributes
    ----------
    array : ShardedArray
    truth_NC : ndarray of shape (N, C), bool, or None
        Targets; without them batches have none, shape (B, 0).
    features_NF : ndarray of shape (N, F), float32, or None
        Biological features, nan where a value cannot be said; without them batches have none.
    feature_names : tuple of str, length F
    """

    array: ShardedArray
    truth_NC: np.ndarray | None = None
    features_NF: np.ndarray | None = None
    feature_names: tuple[str, ...] = ()


class Batch(NamedTuple):
    """Some samples; (H, W, K) images are uint8, channel order R G B Y."""

    images_BHWK: torch.Tensor
    features_BF: torch.Tensor
    targets_BC: torch.Tensor
    rows_B: torch.Tensor


class SampleDataset(Dataset):
    """The samples of a source by (epoch, row).

    The index carries the epoch, so that augmentation differs from epoch to epoch in worker
    processes too.
    """

    def __init__(self, source: Source, augmentation: Augmentation | None = None):
        self.source, self.augmentation = source, augmentation

    def __getitem__(self, index: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Return image_HWK uint8, features_F and target_C float32, and row."""
        epoch, row = index
        image_HWK = self.source.array[row]
        if self.augmentation is not None:
            image_HWK = self.augmentation(image_HWK, epoch, row)
        return image_HWK, _row(self.source.features_NF, row), _row(self.source.truth_NC, row), row


def _row(table: np.ndarray | None, row: int) -> np.ndarray:
    return np.zeros(0, np.float32) if table is None else table[row].astype(np.float32)


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
    source: Source,
    rows: np.ndarray,
    batch_size: int,
    workers: int,
    seed: int | None = None,
    augmentation: Augmentation | None = None,
) -> DataLoader:
    """Return `Batch`es of the given rows: shuffled where a seed is given, else in their order.

    ``loader.batch_sampler.epoch`` says which epoch is drawn.
    """
    return DataLoader(
        SampleDataset(source, augmentation),
        batch_sampler=EpochSampler(rows, batch_size, seed),
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
    )


def _collate(samples: list[tuple]) -> Batch:
    *arrays, rows = zip(*samples, strict=True)
    return Batch(*(torch.from_numpy(np.stack(array)) for array in arrays), torch.tensor(rows))
