"""Every setting that a run may have: what it means, which values it takes, what contradicts what.

Settings are grouped by what they decide, so that each stage can name the groups that its result
depends on. `lib.presets` holds their values.
"""

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass, field, replace
from typing import Any

from lib.errors import UserError

# what `lib.learning.losses` knows; named here, where torch is not to be loaded
LOSSES = (
    "bce",
    "soft_margin",
    "cross_entropy",
    "focal",
    "asymmetric",
)


def setting(
    default: Any,
    meaning: str,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Declare a field of a settings group with what it means and which values it takes."""
    return field(default=default, metadata=dict(meaning=meaning, choices=choices, low=low, high=high))


@dataclass(frozen=True)
class Simulation:
    """The simulated cells that a preset runs on; none where it reads Kaggle's files."""

    name: str = setting("", "folder in data/ for the simulated cells; empty: the preset reads Kaggle's files")
    train_samples: int = setting(0, "labelled samples", low=0)
    test_samples: int = setting(0, "samples without a label", low=0)
    size: int = setting(512, "side of an image in pixels", low=32)
    visibility: float = setting(1.0, "how plainly patterns show; 1 is as in real images", low=1.0, high=10.0)
    seed: int = setting(2018, "decides every cell", low=0)


@dataclass(frozen=True)
class Data:
    """The cached arrays, shared by all runs on the same images."""

    sizes: tuple[int, ...] = setting((512,), "sides of the cached arrays in pixels", low=16, high=4096)
    shard_rows: int = setting(256, "samples in a file of the cache, the unit of work", low=1)
    max_bad_images: int = setting(0, "samples with a missing or broken file to go on without", low=0)


@dataclass(frozen=True)
class Split:
    """Which labelled samples train, tune and judge."""

    validation: float = setting(0.2, "share of samples that tunes; not used with folds", low=0, high=0.9)
    holdout: float = setting(0.0, "share of samples that only evaluation touches", low=0, high=0.9)
    folds: int = setting(0, "parts for cross-validation; 0: one split by the shares above", low=0, high=50)
    fold: int = setting(0, "which part is the validation subset", low=0)
    rare_class_minimum: float = setting(
        0.0, "samples with a class rarer than this share are left out (Hoogenboom: 0.01)", low=0, high=0.5
    )
    seed: int = setting(0, "decides the split", low=0)


@dataclass(frozen=True)
class Features:
    """The biological features that stage 01 measures."""

    size: int = setting(0, "side of the arrays that are measured; 0: the largest of data.sizes", low=0)
    denoise: str = setting(
        "fast", "adaptive Wiener filter, or the paper's non-local means, 10 times slower", ("fast", "paper")
    )
    columns: str = setting("ten", "the ten of Liu et al. 2018, or those and ten more", ("ten", "all"))


@dataclass(frozen=True)
class Network:
    """What is trained."""

    kind: str = setting(
        "network", "a network, or gradient boosted trees on the features alone", ("network", "trees")
    )
    architecture: str = setting("resnet34", "a timm model by name")
    channels: str = setting("RGBY", "what it sees: all channels, or no yellow", ("RGBY", "RGB"))
    normalisation: str = setting(
        "standard",
        "of the input: by the training rows' mean and deviation, or to [0, 1] (Hoogenboom)",
        ("standard", "unit"),
    )
    pretrained: bool = setting(False, "start from timm's ImageNet weights (downloaded once)")
    weights_file: str = setting("", "pretrained: take them from this file instead of the hub")
    fourth_channel: str = setting(
        "timm",
        "yellow's first weights: timm's own, zero, or copied from blue (Liu)",
        ("timm", "zero", "copy"),
    )
    dropout: float = setting(
        0.0, "share of the representation dropped before the last layer", low=0, high=0.95
    )
    features: str = setting(
        "none", "features of stage 01 that are joined to its representation", ("none", "ten", "all")
    )
    feature_scaling: str = setting(
        "minmax", "to [0, 1], or standardised; both on the training rows", ("minmax", "standard")
    )
    feature_weights: str = setting(
        "paper",
        "weights of the scaled features: of Liu et al. 2018, section 5.2, or equal",
        ("paper", "equal"),
    )
    feature_factor: float = setting(1.0, "of all scaled and weighted features", low=0, high=1000)
    fusion_width: int = setting(
        256, "outputs of the layer after joining, and of the first layer of a joint hierarchy's heads", low=1
    )


@dataclass(frozen=True)
class Training:
    """How it is trained."""

    size: int = setting(512, "side of the network's input in pixels, one of data.sizes", low=16)
    epochs: int = setting(20, "passes over the training samples", low=1)
    batch_size: int = setting(32, "samples a step", low=2)
    learning_rate: float = setting(1e-3, "highest rate of the schedule", low=1e-8, high=10)
    schedule: str = setting(
        "cyclical",
        "how the rate goes: triangles (Liu), torch's one-cycle or cosine, or constant",
        ("cyclical", "one_cycle", "cosine", "constant"),
    )
    cycle_epochs: float = setting(20.0, "cyclical: epochs from rate 0 over the peak and back to 0", low=0.01)
    cycle_growth: float = setting(
        1.0, "cyclical: each cycle is so many times longer than the last", low=1, high=10
    )
    early_stopping: int = setting(
        0,
        "epochs without a new best before a tenth of the rate, then before the end; 0: off (Hoogenboom: 6)",
        low=0,
    )
    loss: str = setting(
        "bce",
        "what is minimised; soft_margin equals bce; cross_entropy is for one class a sample",
        LOSSES,
    )
    class_weights: str = setting(
        "none", "of the losses: none, by inverse frequency, by its root", ("none", "balanced", "root")
    )
    label_smoothing: float = setting(0.0, "share by which targets are drawn from yes and no", low=0, high=0.5)
    sampling: str = setting(
        "all", "all samples once an epoch; rare: drawn, those of rare classes more often", ("all", "rare")
    )
    weight_decay: float = setting(0.01, "of AdamW", low=0, high=1)
    clip_gradient: float = setting(0.0, "largest norm of the gradient; 0: not clipped", low=0)
    accumulate: int = setting(1, "batches whose gradients make one step", low=1)
    ema_decay: float = setting(
        0.0, "of a moving average of the weights, judged and kept; 0: none", low=0, high=0.99999
    )
    augmentation: str = setting(
        "flips_affine", "changes of training images", ("none", "flips", "flips_affine")
    )
    tta: bool = setting(False, "predict also the mean over the eight flips and turns, as <network>_tta")
    precision: str = setting(
        "auto",
        "float32, or where the device is quick at it bfloat16, or on older GPUs float16",
        ("auto", "float32", "bfloat16", "float16"),
    )
    compile: bool = setting(False, "let torch.compile make the network quicker; starts slower")
    checkpoint_steps: int = setting(0, "steps between two checkpoints within an epoch; 0: none", low=0)
    keep: str = setting(
        "validation_loss",
        "the epoch whose weights are kept is the best by this",
        ("validation_loss", "macro_f1", "last"),
    )
    seed: int = setting(0, "decides first weights, order, augmentation and dropout", low=0)


@dataclass(frozen=True)
class Hierarchy:
    """What stage 03 trains: networks that ask for groups of labels first, then for labels."""

    train: str = setting(
        "none",
        "nothing; a network for the groups and one for each group's labels (Hoogenboom); "
        "one network with a head a group; or both",
        ("none", "stages", "joint", "all"),
    )
    grouping: str = setting(
        "atlas",
        "the atlas's three groups; two, with cytoplasm and secretory as one; or a CSV file: group,label",
    )
    stage_1: str = setting(
        "multi_label",
        "an output for each group, or for each combination of groups; with both, the former routes",
        ("multi_label", "single_label", "both"),
    )
    other: str = setting(
        "without",
        "stage 2 without or with an output and samples for what is not of the group, or both",
        ("without", "with", "both"),
    )
    transfer: bool = setting(True, "stage 2 starts from stage 1's weights")


@dataclass(frozen=True)
class Threshold:
    """From probabilities to yes and no."""

    method: str = setting(
        "expected_f1",
        "one for all (fixed); the optimum of F1 on validation, class by class (f1), for all classes together "
        "(global), between these (shrunk), or of parts of validation (cross_validated); by how frequent a "
        "class is (frequency); the optimum of the F1 that is expected where it is applied (expected_f1)",
        ("fixed", "f1", "global", "shrunk", "cross_validated", "frequency", "expected_f1"),
    )
    fixed: float = setting(
        0.5, "used by fixed, and by f1 for a class without a validation sample", low=0, high=1
    )
    shrinkage: float = setting(
        10.0, "shrunk: validation samples of a class that weigh as much as all classes together", low=0
    )
    calibration: str = setting(
        "class",
        "of probabilities for expected_f1 and estimated frequencies: none, class by class, or all alike",
        ("none", "class", "pooled"),
    )
    frequencies: str = setting(
        "training",
        "of the classes, for frequency and expected_f1: as in training, estimated where they are applied, "
        "or a CSV file: class,frequency",
    )
    max_labels: int = setting(
        0, "most labels of a sample, those furthest above their thresholds; 0: any", low=0
    )
    consistent: bool = setting(False, "only labels of groups that the hierarchy's stage 1 says yes to")


@dataclass(frozen=True)
class Ensemble:
    """Which predictors are joined to one more, called ensemble."""

    members: str = setting("none", "none, all, or names of predictors separated by commas")
    method: str = setting(
        "mean",
        "mean of probabilities; of ranks; or of probabilities with weights learnt on validation",
        ("mean", "rank_mean", "weighted"),
    )


@dataclass(frozen=True)
class Config:
    """One preset: a name, what it is for, and its settings by group.

    `networks` names what stage 02 trains, each with the overrides that make it differ; `parts` does so for
    the hierarchy's networks of stage 03; `overrides` are those of the command line.
    """

    name: str
    purpose: str
    cost: str
    score: str
    simulation: Simulation = Simulation()
    data: Data = Data()
    split: Split = Split()
    features: Features = Features()
    network: Network = Network()
    training: Training = Training()
    hierarchy: Hierarchy = Hierarchy()
    threshold: Threshold = Threshold()
    ensemble: Ensemble = Ensemble()
    networks: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"baseline": ()})
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def of_network(self, name: str) -> "Config":
        """Return the settings of one of the networks; what the command line says is stronger."""
        return override(self, self.networks[name])

    def of_part(self, name: str) -> "Config":
        """Return the settings of one of the hierarchy's networks: of `PARTS`."""
        own = override(self, self.parts.get(name, ()))
        if name == "stage_1_single":  # one combination of groups a sample
            own = replace(own, training=replace(own.training, loss="cross_entropy"))
        return own

    @property
    def is_network(self) -> bool:
        """Whether a network is trained, and not trees on the features alone."""
        return self.network.kind == "network"

    @property
    def uses_features(self) -> bool:
        """Whether what is trained takes the features of stage 01."""
        return self.network.features != "none"

    @property
    def feature_size(self) -> int:
        """Side of the arrays that the features are measured in."""
        return self.features.size or max(self.data.sizes)

    def group(self, name: str) -> dict[str, Any]:
        """Return the settings of one group as ``{"group.field": value}``."""
        return {f"{name}.{key}": value for key, value in dataclasses.asdict(getattr(self, name)).items()}


PARTS = ("stage_1", "stage_1_single", "stage_2", "joint")
GROUPS = {item.name: item.type for item in dataclasses.fields(Config) if dataclasses.is_dataclass(item.type)}


def override(base: Config, overrides: tuple[str, ...]) -> Config:
    """Return settings with ``group.field=value`` overrides, beneath those that they have already.

    Raises
    ------
    UserError
        For an unknown group or field, or a value of the wrong type or outside its range; the message
        lists what is valid.
    """
    changes: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for text in (*overrides, *base.overrides):
        group, name, value = _parse_override(text)
        changes[group][name] = value
    groups = {group: replace(getattr(base, group), **fields) for group, fields in changes.items()}
    return replace(base, **groups)


def check_hierarchy(config: Config) -> None:
    """Raise a `UserError` for settings of one of the hierarchy's networks that contradict each other."""
    if not config.is_network:
        raise UserError(f"hierarchy.train={config.hierarchy.train} is for networks, not network.kind=trees")
    check(config)


def check(config: Config) -> None:
    """Raise a `UserError` for settings that contradict each other."""
    split, training = config.split, config.training
    sizes = ",".join(map(str, config.data.sizes))
    if training.size not in config.data.sizes:
        raise UserError(
            f"training.size={training.size} is not among data.sizes={sizes}: "
            f"add it, for example --set data.sizes={sizes},{training.size}"
        )
    if config.feature_size not in config.data.sizes:
        raise UserError(
            f"features.size={config.features.size} is not among data.sizes={sizes}; 0 takes the largest"
        )
    if config.network.features == "all" and config.features.columns == "ten":
        raise UserError("network.features=all needs features.columns=all, which stage 01 measures")
    if not config.is_network and not config.uses_features:
        raise UserError("network.kind=trees needs features: network.features=ten or all")
    if training.early_stopping and training.keep != "validation_loss":
        raise UserError(
            f"training.early_stopping={training.early_stopping} judges by validation loss: it needs "
            f"training.keep=validation_loss, not {training.keep}"
        )
    if len(set(config.data.sizes)) < len(config.data.sizes):
        raise UserError(f"data.sizes={sizes} names a size twice")
    if split.folds == 1:
        raise UserError("split.folds=1 leaves nothing to train on: 0 for one split, or 2 and more")
    if split.folds and split.fold >= split.folds:
        last = split.folds - 1
        raise UserError(f"split.fold={split.fold} does not exist: split.folds={split.folds} has 0 to {last}")
    if not split.folds and split.validation == 0:
        raise UserError("split.validation=0 leaves nothing to tune on: give it a share, for example 0.2")
    if split.holdout + split.validation * (not split.folds) >= 1:
        raise UserError(
            f"split.validation={split.validation} and split.holdout={split.holdout} leave nothing "
            f"to train on: together they must stay below 1"
        )


class Shown(typing.NamedTuple):
    """A setting for people: ``group.field``, its value as ``--set`` takes it, and what it means."""

    name: str
    value: str
    meaning: str
    is_default: bool


def list_settings(config: Config) -> list[Shown]:
    """Return every setting with its value in `config`."""
    found = []
    for group in GROUPS:
        for item in dataclasses.fields(GROUPS[group]):
            value = getattr(getattr(config, group), item.name)
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            choices = f" ({' | '.join(item.metadata['choices'])})" if item.metadata["choices"] else ""
            meaning = item.metadata["meaning"] + choices
            found.append(Shown(f"{group}.{item.name}", shown, meaning, value == item.default))
    return found


def describe_settings(config: Config) -> str:
    """Return every setting with its value in `config` and what it means, a line each."""
    return "\n".join(f"{one.name + '=' + one.value:<40}{one.meaning}" for one in list_settings(config))


def _parse_override(override: str) -> tuple[str, str, Any]:
    path, equals, text = override.partition("=")
    group, dot, name = path.partition(".")
    if not (equals and dot):
        raise UserError(f"--set {override}: expected group.field=value, for example training.epochs=5")
    if group not in GROUPS:
        raise UserError(
            f"--set {override}: unknown group {group!r}{_nearest(group, GROUPS)}; "
            f"there are {' '.join(GROUPS)}"
        )
    fields = {item.name: item for item in dataclasses.fields(GROUPS[group])}
    if name not in fields:
        raise UserError(
            f"--set {override}: {group} has no field {name!r}{_nearest(name, fields)}; "
            f"it has {' '.join(fields)}"
        )
    item = fields[name]
    try:
        value = _convert(text, item.type)
    except ValueError:
        raise UserError(f"--set {override}: expected {_type_name(item.type)}, not {text!r}") from None
    choices, low, high = (item.metadata[key] for key in ("choices", "low", "high"))
    if choices and value not in choices:
        raise UserError(f"--set {override}: expected one of {' '.join(choices)}")
    for number in value if isinstance(value, tuple) else (value,):
        if (low is not None and not number >= low) or (high is not None and not number <= high):
            bounds = f"at least {low}" if high is None else f"{low} to {high}"
            raise UserError(f"--set {override}: expected {bounds}")
    return group, name, value


def _convert(text: str, kind: Any) -> Any:
    if isinstance(kind, types.GenericAlias):  # tuple[int, ...]
        return tuple(_convert(part, typing.get_args(kind)[0]) for part in text.split(","))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return kind(text)


def _type_name(kind: Any) -> str:
    if isinstance(kind, types.GenericAlias):
        return "whole numbers separated by commas"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]


def _nearest(word: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
