"""Settings that contradict each other are rejected, in Python as on the command line."""

import re
from typing import Any

import pytest

from lib.config import Config, override
from lib.errors import UserError
from lib.sections import Data, Features, Hierarchy, Network, Split, Threshold, Training


def make(**sections: Any) -> Config:
    """Construct a configuration of small arrays, as a preset written in Python does."""
    sections = {"data": Data(sizes=(64, 32)), "training": Training(size=64)} | sections
    return Config("mine", "purpose", "cost", "score", **sections)


# sections written in Python, the same by --set, and what the message names
CONTRADICTIONS = {
    "pooling and head": (
        dict(network=Network(head="multilevel", pooling="gem")),
        ["network.head=multilevel", "network.pooling=gem"],
        "network.pooling=gem is for network.head=linear: multilevel pools by mean and maximum",
    ),
    "dropout of avgmax": (
        dict(network=Network(head="avgmax", dropout=0.3)),
        ["network.head=avgmax", "network.dropout=0.3"],
        "network.dropout=0.3 has no effect with network.head=avgmax, whose dropout is 0.5",
    ),
    "normalisation of nothing": (
        dict(network=Network(normalisation="start")),
        ["network.normalisation=start"],
        "network.normalisation=start needs network.start",
    ),
    "no training": (
        dict(network=Network(start="w.pt"), training=Training(size=64, epochs=0)),
        ["network.start=w.pt", "training.epochs=0"],
        "it needs network.start=FILE (or its address, or a network's folder) and network.normalisation=start",
    ),
    "training size": (
        dict(training=Training(size=128)),
        ["training.size=128"],
        "training.size=128 is not among data.sizes=64,32: add it, for example --set data.sizes=64,32,128",
    ),
    "feature size": (
        dict(features=Features(size=16)),
        ["features.size=16"],
        "features.size=16 is not among data.sizes=64,32; 0 selects the largest",
    ),
    "repeated size": (
        dict(data=Data(sizes=(64, 64))),
        ["data.sizes=64,64"],
        "data.sizes=64,64 lists a size twice",
    ),
    "features": (
        dict(network=Network(features="all")),
        ["network.features=all"],
        "network.features=all needs features.columns=all",
    ),
    "trees": (
        dict(network=Network(kind="trees")),
        ["network.kind=trees"],
        "network.kind=trees needs features: network.features=ten or all",
    ),
    "early stopping": (
        dict(training=Training(size=64, early_stopping=6, keep="last")),
        ["training.early_stopping=6", "training.keep=last"],
        "training.early_stopping=6 monitors the validation loss: it needs training.keep=validation_loss",
    ),
    "warm-up of cycles": (
        dict(training=Training(size=64, warmup_epochs=1.0)),
        ["training.warmup_epochs=1"],
        "training.warmup_epochs=1.0 is unused with training.schedule=cyclical",
    ),
    "long warm-up": (
        dict(training=Training(size=64, epochs=2, schedule="cosine", warmup_epochs=2.0)),
        ["training.epochs=2", "training.schedule=cosine", "training.warmup_epochs=2"],
        "training.warmup_epochs=2.0 is too many for training.epochs=2",
    ),
    "long average": (
        dict(training=Training(size=64, epochs=2, average_epochs=3)),
        ["training.epochs=2", "training.average_epochs=3"],
        "training.average_epochs=3 is too many for training.epochs=2",
    ),
    "large start": (
        dict(training=Training(size=64, start_size=64)),
        ["training.start_size=64"],
        "training.start_size=64 must be 16 or more, and below training.size=64",
    ),
    "small start": (
        dict(training=Training(size=64, start_size=8)),
        ["training.start_size=8"],
        "training.start_size=8 must be 16 or more, and below training.size=64",
    ),
    "two averages": (
        dict(training=Training(size=64, average_epochs=2, ema_decay=0.9)),
        ["training.average_epochs=2", "training.ema_decay=0.9"],
        "training.average_epochs=2 excludes training.ema_decay=0.9",
    ),
    "average and early end": (
        dict(training=Training(size=64, average_epochs=2, early_stopping=6)),
        ["training.average_epochs=2", "training.early_stopping=6"],
        "training.average_epochs=2 excludes training.early_stopping=6, which may end the training before",
    ),
    "array size": (
        dict(training=Training(size=16, array_size=48)),
        ["training.size=16", "training.array_size=48"],
        "training.array_size=48 is not among data.sizes=64,32: add it, for example --set data.sizes=64,32,48",
    ),
    "crop outside": (
        dict(training=Training(size=16, array_size=64, crop=(32, 80))),
        ["training.size=16", "training.array_size=64", "training.crop=32,80"],
        "training.crop=32,80: expected the smallest and the largest side, from 16 to 64",
    ),
    "crop reversed": (
        dict(training=Training(size=64, crop=(48, 32))),
        ["training.crop=48,32"],
        "training.crop=48,32: expected the smallest and the largest side, from 16 to 64",
    ),
    "crop of a small share": (
        dict(training=Training(size=64, crop=(0.2, 1))),
        ["training.crop=0.2,1"],
        "training.crop=0.2,1: expected the smallest and the largest side, from 16 to 64",
    ),
    "three crops": (
        dict(training=Training(size=64, crop=(32, 48, 64))),
        ["training.crop=32,48,64"],
        "training.crop=32,48,64: expected the smallest and the largest side, from 16 to 64",
    ),
    "crops of whole images": (
        dict(training=Training(size=64, tta=True, tta_crops=4)),
        ["training.tta=true", "training.tta_crops=4"],
        "training.tta_crops=4 needs training.tta=true, and training.crop",
    ),
    "no square grid": (
        dict(training=Training(size=64, tta=True, tta_crops=5, crop=(32, 48))),
        ["training.tta=true", "training.tta_crops=5", "training.crop=32,48"],
        "training.tta_crops=5: expected 0, 1, 4, 9 or 16",
    ),
    "maximum of one among all": (
        dict(training=Training(size=64, loss="cross_entropy", tta_combine="max")),
        ["training.loss=cross_entropy", "training.tta_combine=max"],
        "training.tta_combine=max needs independent classes, and training.loss=cross_entropy has one",
    ),
    "weights of a balanced loss": (
        dict(training=Training(size=64, loss="distribution_balanced", class_weights="root")),
        ["training.loss=distribution_balanced", "training.class_weights=root"],
        "training.loss=distribution_balanced balances the classes itself, and needs "
        "training.class_weights=none and training.label_smoothing=0",
    ),
    "mixed labels": (
        dict(training=Training(size=64, loss="focal_lovasz_log", cutmix=0.5)),
        ["training.loss=focal_lovasz_log", "training.cutmix=0.5"],
        "training.loss=focal_lovasz_log needs targets of 0 and 1: training.cutmix=0",
    ),
    "mixed features": (
        dict(training=Training(size=64, cutmix=0.5), network=Network(features="ten")),
        ["training.cutmix=0.5", "network.features=ten"],
        "training.cutmix=0.5 mixes images, not their features: it needs network.features=none, not ten",
    ),
    "no validation": (
        dict(split=Split(validation=0)),
        ["split.validation=0"],
        "split.validation=0 leaves no validation samples: set a share, for example 0.2",
    ),
    "no training samples": (
        dict(split=Split(validation=0.5, holdout=0.5)),
        ["split.validation=0.5", "split.holdout=0.5"],
        "split.validation=0.5 and split.holdout=0.5 leave no training samples",
    ),
    "labels of groups that nothing predicts": (
        dict(threshold=Threshold(consistent=True), hierarchy=Hierarchy(train="joint")),
        ["threshold.consistent=true", "hierarchy.train=joint"],
        "threshold.consistent=true needs the groups that a hierarchy's stage 1 predicts: "
        "hierarchy.train=stages or all, not joint",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_rejected_in_python_as_by_set(name):
    sections, overrides, message = CONTRADICTIONS[name]
    with pytest.raises(UserError, match=re.escape(message)) as in_python:
        make(**sections)
    with pytest.raises(UserError) as by_set:
        override(make(overrides=tuple(overrides)), ())
    assert str(by_set.value) == str(in_python.value)
    assert "\n" not in str(in_python.value)


@pytest.mark.parametrize(
    "sections",
    [
        dict(split=Split(folds=5, validation=0)),  # unused with folds
        dict(split=Split(folds=5, validation=0.9, holdout=0.2)),
        dict(network=Network(features="all"), features=Features(columns="all", size=32)),
        dict(network=Network(kind="trees", features="ten"), training=Training(size=64, epochs=0)),
        dict(network=Network(start="w.pt", normalisation="start"), training=Training(size=64, epochs=0)),
        dict(network=Network(head="avgmax", dropout=0.5)),
        dict(network=Network(head="avgmax", dropout=0.3, features="ten")),
        dict(training=Training(size=32, early_stopping=6)),
        dict(training=Training(size=64, epochs=2, average_epochs=2)),
        dict(training=Training(size=64, schedule="one_cycle", warmup_epochs=2.5, start_size=32)),
        dict(training=Training(size=16, array_size=64, crop=(40,), tta=True, tta_crops=9)),
        dict(training=Training(size=16, array_size=64, loss="focal_lovasz_log", crop=(16, 64))),
    ],
)
def test_settings_that_agree_are_accepted(sections):
    make(**sections)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(hierarchy_networks={"stage2": ()}), "'stage2' in hierarchy_networks; there are stage_1 "),
        (dict(networks={"a/b": ()}), "network 'a/b' cannot be a name"),
        (dict(networks={"": ()}), "network '' cannot be a name"),
        (dict(networks={"x" * 300: ()}), "at most 80"),
        (dict(networks={"ensemble": ()}), "'ensemble' cannot name a network: another"),
        (dict(networks={"stage_2_nucleus": ()}), "'stage_2_nucleus' cannot name a network: another"),
        (dict(networks={"all": ()}), "'all' cannot name a network: another"),
        (dict(hierarchies={"two": ()}), "hierarchy 'two': expected a name like hierarchy_two"),
        (dict(networks={"a": (), "a_tta": ()}), "'a_tta' cannot name a network: another"),
        (dict(networks={"a_folds": (), "a": ()}), "'a_folds' cannot name a network: another"),
    ],
)
def test_names_of_networks_are_checked(fields, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make(**fields)
