"""Which settings contradict each other: every message names them and the valid choices."""

import math
import re
from typing import Any

from lib.errors import UserError
from lib.names import HIERARCHY_NAMES, HIERARCHY_NETWORKS, MAIN_HIERARCHY, RESERVED_NAMES, check_name
from lib.sections import BALANCED_LOSSES, Network, Split, Training
from lib.settings import format_value, nearest


def check(config: Any) -> None:
    """Raise a `UserError` if settings contradict each other, or a name cannot be that of a network.

    Parameters
    ----------
    config : lib.config.Config
        Which calls this on construction.
    """
    _check_names(config)
    _check_sizes(config)
    _check_network(config)
    _check_training(config.training)
    _check_loss(config)
    _check_crops(config)
    _check_split(config.split)
    if config.threshold.consistent and config.hierarchy.train not in ("stages", "all"):
        raise UserError(
            f"threshold.consistent=true needs the groups that a hierarchy's stage 1 predicts: "
            f"hierarchy.train=stages or all, not {config.hierarchy.train}"
        )


def _check_names(config: Any) -> None:
    for kind in config.hierarchy_networks:
        if kind not in HIERARCHY_NETWORKS:
            raise UserError(
                f"preset {config.name}: unknown kind {kind!r} in hierarchy_networks; there are "
                f"{' '.join(HIERARCHY_NETWORKS)}{nearest(kind, HIERARCHY_NETWORKS)}"
            )
    for name in config.hierarchies:
        check_name(name, f"preset {config.name}: hierarchy")
        if not re.fullmatch(rf"{MAIN_HIERARCHY}_[a-z0-9_]+", name):
            raise UserError(
                f"preset {config.name}: hierarchy {name!r}: expected a name like {MAIN_HIERARCHY}_two"
            )
    for name in config.networks:
        check_name(name, f"preset {config.name}: network")
        of_another = [name.removesuffix(end) for end in ("_tta", "_folds") if name.endswith(end)]
        if name in RESERVED_NAMES or HIERARCHY_NAMES.fullmatch(name) or set(of_another) & {*config.networks}:
            raise UserError(
                f"preset {config.name}: {name!r} cannot name a network: another network, predictor or step "
                f"has this name; choose another"
            )


def _check_sizes(config: Any) -> None:
    size, sizes = config.array_size, ",".join(map(str, config.data.sizes))
    name = "array_size" if config.training.array_size else "size"
    if len(set(config.data.sizes)) < len(config.data.sizes):
        raise UserError(f"data.sizes={sizes} lists a size twice")
    if size not in config.data.sizes:
        raise UserError(
            f"training.{name}={size} is not among data.sizes={sizes}: "
            f"add it, for example --set data.sizes={sizes},{size}"
        )
    if config.feature_size not in config.data.sizes:
        raise UserError(
            f"features.size={config.features.size} is not among data.sizes={sizes}; 0 selects the largest"
        )


def _check_network(config: Any) -> None:
    if config.network.features == "all" and config.features.columns == "ten":
        raise UserError("network.features=all needs features.columns=all, which stage 01 computes")
    if not config.is_network and not config.uses_features:
        raise UserError("network.kind=trees needs features: network.features=ten or all")
    _check_head(config.network)
    if not config.network.start and config.network.normalisation == "start":
        raise UserError("network.normalisation=start needs network.start; or use standard or unit")
    if config.is_network and config.training.epochs == 0 and config.network.normalisation != "start":
        raise UserError(
            "training.epochs=0 predicts with a network as it is: it needs network.start=FILE (or its "
            "address, or a network's folder) and network.normalisation=start; or train for an epoch or more"
        )


def _check_training(training: Training) -> None:
    if training.early_stopping and training.keep != "validation_loss":
        raise UserError(
            f"training.early_stopping={training.early_stopping} monitors the validation loss: it needs "
            f"training.keep=validation_loss, not {training.keep}"
        )
    if training.warmup_epochs and training.schedule == "cyclical":
        raise UserError(
            f"training.warmup_epochs={training.warmup_epochs} is unused with training.schedule=cyclical, "
            f"whose cycles start at rate 0: choose one_cycle, cosine or constant, or set 0"
        )
    for name, fits in (
        ("warmup_epochs", training.warmup_epochs < max(training.epochs, 1)),
        ("average_epochs", training.average_epochs <= training.epochs),
    ):
        if not fits:
            raise UserError(
                f"training.{name}={getattr(training, name)} is too many for training.epochs="
                f"{training.epochs}: lower it; 0 switches it off"
            )
    if training.start_size and not 16 <= training.start_size < training.size:
        raise UserError(
            f"training.start_size={training.start_size} must be 16 or more, and below "
            f"training.size={training.size}; 0 switches it off"
        )
    if training.average_epochs and (training.ema_decay or training.early_stopping):
        name = "ema_decay" if training.ema_decay else "early_stopping"
        why = "averages weights too" if training.ema_decay else "may end the training before"
        raise UserError(
            f"training.average_epochs={training.average_epochs} excludes "
            f"training.{name}={getattr(training, name)}, which {why}: set one of them to 0"
        )


def _check_head(network: Network) -> None:
    if network.head != "linear" and network.pooling != "own":
        raise UserError(
            f"network.pooling={network.pooling} is for network.head=linear: {network.head} pools by mean and "
            f"maximum; leave one of them out"
        )
    if network.head == "avgmax" and network.features == "none" and network.dropout not in (0, 0.5):
        raise UserError(
            f"network.dropout={network.dropout} has no effect with network.head=avgmax, whose dropout is "
            f"0.5: leave it out, or use network.head=linear"
        )


def _check_loss(config: Any) -> None:
    training = config.training
    if training.loss in BALANCED_LOSSES and (training.class_weights != "none" or training.label_smoothing):
        raise UserError(
            f"training.loss={training.loss} balances the classes itself, and needs "
            f"training.class_weights=none and training.label_smoothing=0"
        )
    if training.cutmix and training.loss == "focal_lovasz_log":
        raise UserError("training.loss=focal_lovasz_log needs targets of 0 and 1: training.cutmix=0")
    if training.cutmix and config.is_network and config.uses_features:
        raise UserError(
            f"training.cutmix={training.cutmix} mixes images, not their features: it needs "
            f"network.features=none, not {config.network.features}"
        )


def _check_crops(config: Any) -> None:
    training, (smallest, largest) = config.training, config.training.crop_sides
    if largest and (len(training.crop) > 2 or not 16 <= smallest <= largest <= config.array_size):
        raise UserError(
            f"training.crop={format_value(training.crop)}: expected the smallest and the largest side, from "
            f"16 to {config.array_size}, the side of the arrays, or as shares of it; or 0 for whole images"
        )
    if training.tta_crops and not (largest and training.tta):
        raise UserError(
            f"training.tta_crops={training.tta_crops} needs training.tta=true, and training.crop, the sides "
            f"of the crops"
        )
    if math.isqrt(training.tta_crops) ** 2 != training.tta_crops:
        raise UserError(f"training.tta_crops={training.tta_crops}: expected 0, 1, 4, 9 or 16")
    if training.tta_combine == "max" and training.loss == "cross_entropy":
        raise UserError(
            "training.tta_combine=max needs independent classes, and training.loss=cross_entropy has one "
            "class per sample: training.tta_combine=mean"
        )


def _check_split(split: Split) -> None:
    single = split.folds == 1
    if single and split.validation == 0:
        raise UserError("split.validation=0 leaves no validation samples: set a share, for example 0.2")
    if single and split.holdout + split.validation >= 1:
        raise UserError(
            f"split.validation={split.validation} and split.holdout={split.holdout} leave no training "
            f"samples: their sum must be below 1"
        )
