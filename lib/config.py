"""Every setting of a run: its meaning, its valid values, and which settings contradict each other.

Settings are grouped into sections, so that each step can name the sections that its result depends on. All
values are validated on construction (`lib.settings`), whether they come from ``--set`` or from a preset
written in Python. `lib.presets` holds the values.
"""

import dataclasses
import re
import typing
from dataclasses import dataclass, field, replace
from typing import Any

from lib.errors import UserError
from lib.names import check_name
from lib.settings import (
    Section,
    check_value,
    convert,
    format_value,
    nearest,
    seed_setting,
    setting,
    type_name,
)

# implemented in `lib.learning.losses`; listed here, where torch must not be loaded
LOSSES = (
    "bce",
    "soft_margin",
    "cross_entropy",
    "focal",
    "asymmetric",
)


RESERVED_FOLDERS = ("cache", "train", "test")  # in data/: the cached arrays, and Kaggle's images


@dataclass(frozen=True)
class Simulation(Section):
    """The simulated cells of a preset; none where it reads Kaggle's files."""

    name: str = setting("", "folder in data/ for the simulated cells; empty: the preset reads Kaggle's files")
    train_samples: int = setting(0, "labelled samples", low=0)
    test_samples: int = setting(0, "samples of the test set", low=0)
    size: int = setting(512, "side of the images in pixels", low=32)
    visibility: float = setting(1.0, "how clearly patterns show; 1: as in real images", low=1.0, high=10.0)
    seed: int = seed_setting(2018, "seed of all cells")
    unseen: float = setting(
        0.5, "fraction of the test set's antibodies that are not in train", low=0.0, high=1.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name:
            check_name(self.name, "simulation.name")
        if self.name.lower() in RESERVED_FOLDERS:
            raise UserError(f"simulation.name={self.name}: data/{self.name} has another purpose")


@dataclass(frozen=True)
class Data(Section):
    """The cached arrays, which all runs on the same images share."""

    sizes: tuple[int, ...] = setting((512,), "sides of the cached arrays in pixels", low=16, high=4096)
    shard_rows: int = setting(256, "samples per file of the cache, the unit of work", low=1)
    groups: str = setting("", "CSV file (id,group) of samples that are related, for example by antibody")
    max_bad_images: int = setting(
        0, "samples with a missing or damaged image to tolerate; they are left out", low=0
    )
    projection: str = setting(
        "none", "of image files with several pages: rejected, or the brightest value", ("none", "max")
    )


@dataclass(frozen=True)
class Split(Section):
    """Which labelled samples are used for training, validation and evaluation."""

    validation: float = setting(
        0.2, "share of samples for early stopping and thresholds; unused with folds", low=0, high=0.9
    )
    holdout: float = setting(0.0, "share of samples used only for evaluation", low=0, high=0.9)
    folds: int = setting(1, "number of cross-validation folds; 1: a single split", low=1, high=50)
    rare_class_minimum: float = setting(
        0.0, "leave out samples with a class rarer than this share (Hoogenboom: 0.01)", low=0, high=0.5
    )
    by: str = setting(
        "group",
        "what is assigned: groups of related samples (an antibody's, and duplicates), or single samples",
        ("group", "sample"),
    )
    method: str = setting(
        "stratified", "how it is assigned: each class keeps its share, or at random", ("stratified", "random")
    )
    siblings: float = setting(
        0.03,
        "share of samples kept from training whose group is trained on; with split.by=group",
        low=0,
        high=0.5,
    )
    strata: str = setting(
        "", "CSV file (id and one other column, for example the side of the original) to weight scores by"
    )
    seed: int = seed_setting(0, "seed of the split")


@dataclass(frozen=True)
class Features(Section):
    """The biological features that stage 01 computes."""

    size: int = setting(
        0, "side of the arrays that they are computed on; 0: the largest of data.sizes", low=0
    )
    denoise: str = setting(
        "fast", "adaptive Wiener filter, or the paper's non-local means, 10 times slower", ("fast", "paper")
    )
    segmentation: str = setting(
        "watershed",
        "touching segments separated; as the paper's text has it; or as its published code does",
        ("watershed", "paper", "paper_code"),
    )
    columns: str = setting(
        "ten", "the ten of Liu et al. 2018, or those and ten additional ones", ("ten", "all")
    )


@dataclass(frozen=True)
class Network(Section):
    """What is trained."""

    kind: str = setting(
        "network", "a neural network, or gradient boosted trees on the features alone", ("network", "trees")
    )
    architecture: str = setting(
        "resnet34", "name of a timm model, with or without the tag of its weights: resnet34.tv_in1k"
    )
    channels: str = setting("RGBY", "input channels: all, or all but yellow", ("RGBY", "RGB"))
    normalisation: str = setting(
        "standard",
        "of the input: by mean and std of the training images, or to [0, 1] (Hoogenboom)",
        ("standard", "unit"),
    )
    pretrained: bool = setting(False, "start from timm's ImageNet weights (downloaded once)")
    weights_file: str = setting(
        "",
        "pretrained: load the weights from this file instead of the hub; also the folder of a network of "
        "this project",
    )
    fourth_channel: str = setting(
        "timm",
        "initial weights of the yellow channel: timm's own, zero, or copied from blue (Liu)",
        ("timm", "zero", "copy"),
    )
    dropout: float = setting(0.0, "dropout rate before the last layer", low=0, high=0.95)
    features: str = setting(
        "none", "features of stage 01 to concatenate with the pooled representation", ("none", "ten", "all")
    )
    feature_scaling: str = setting(
        "minmax", "of features: to [0, 1], or standardised; fitted on training rows", ("minmax", "standard")
    )
    feature_weights: str = setting(
        "paper",
        "weights of the scaled features: those of Liu et al. 2018, section 5.2, or equal",
        ("paper", "equal"),
    )
    feature_factor: float = setting(
        1.0, "factor that all scaled and weighted features are multiplied by", low=0, high=1000
    )
    fusion_width: int = setting(
        256,
        "outputs of the fusion layer, and of the first layer of the heads of a joint hierarchy network",
        low=1,
        high=65536,
    )


@dataclass(frozen=True)
class Training(Section):
    """How it is trained."""

    size: int = setting(512, "side of the network's input in pixels, one of data.sizes", low=16)
    epochs: int = setting(20, "passes over the training samples", low=1)
    batch_size: int = setting(32, "samples per batch", low=2)
    learning_rate: float = setting(1e-3, "highest learning rate of the schedule", low=1e-8, high=10)
    schedule: str = setting(
        "cyclical",
        "of the learning rate: triangular cycles (Liu), torch's one-cycle or cosine, or constant",
        ("cyclical", "one_cycle", "cosine", "constant"),
    )
    cycle_epochs: float = setting(
        20.0, "cyclical: epochs of a cycle, from rate 0 over the peak and back to 0", low=0.01
    )
    cycle_growth: float = setting(
        1.0, "cyclical: how many times longer each cycle is than the one before", low=1, high=10
    )
    early_stopping: int = setting(
        0,
        "epochs without improvement until the rate is divided by ten, and as many until training stops; "
        "0: off (Hoogenboom: 6)",
        low=0,
    )
    loss: str = setting(
        "bce",
        "the loss; soft_margin equals bce; cross_entropy is for one class per sample",
        LOSSES,
    )
    class_weights: str = setting(
        "none",
        "of the loss: none, inversely proportional to class frequency, or to its square root",
        ("none", "balanced", "root"),
    )
    label_smoothing: float = setting(
        0.0, "label smoothing: share by which targets move towards 1/2", low=0, high=0.5
    )
    sampling: str = setting(
        "all",
        "every sample once per epoch, or drawn at random with rare classes more often",
        ("all", "rare"),
    )
    weight_decay: float = setting(0.01, "weight decay of AdamW", low=0, high=1)
    clip_gradient: float = setting(0.0, "largest norm of the gradient; 0: no clipping", low=0)
    accumulate: int = setting(1, "batches whose gradients are accumulated for one step", low=1)
    ema_decay: float = setting(
        0.0,
        "decay of an exponential moving average of the weights, which is evaluated and kept; 0: none",
        low=0,
        high=0.99999,
    )
    augmentation: str = setting(
        "flips_affine",
        "random changes of training images: none, flips and quarter rotations, or also affine transforms",
        ("none", "flips", "flips_affine"),
    )
    tta: bool = setting(
        False, "add a predictor <network>_tta, the mean over the eight flips and quarter rotations"
    )
    precision: str = setting(
        "auto",
        "auto: bfloat16 where the device is fast at it, float16 on older GPUs, else float32",
        ("auto", "float32", "bfloat16", "float16"),
    )
    compile: bool = setting(False, "compile the network with torch.compile: faster steps, a slower start")
    checkpoint_steps: int = setting(0, "steps between two checkpoints within an epoch; 0: none", low=0)
    keep: str = setting(
        "validation_loss",
        "which epoch's weights are kept: lowest validation loss, highest macro-F1, or the last epoch's",
        ("validation_loss", "macro_f1", "last"),
    )
    seed: int = seed_setting(0, "seed of initial weights, order of samples, augmentation and dropout")


@dataclass(frozen=True)
class Hierarchy(Section):
    """What stage 03 trains: networks that predict location groups first, then the classes within them."""

    train: str = setting(
        "none",
        "nothing; a network for the location groups and one for the classes of each group (Hoogenboom); "
        "one network with a head per group; or both",
        ("none", "stages", "joint", "all"),
    )
    grouping: str = setting(
        "atlas",
        "location groups: the atlas's three; two, with cytoplasm and secretory merged; or a CSV file with "
        "the columns group,label",
    )
    stage_1: str = setting(
        "multi_label",
        "an output per group, or per combination of groups; with both, the multi-label one routes",
        ("multi_label", "single_label", "both"),
    )
    other: str = setting(
        "without",
        "stage 2 without or with an output and samples for 'none of this group', or both variants",
        ("without", "with", "both"),
    )
    transfer: bool = setting(True, "initialise stage 2 with the weights of stage 1")


@dataclass(frozen=True)
class Threshold(Section):
    """From probabilities to decisions."""

    method: str = setting(
        "expected_f1",
        "one for all classes (fixed); the best F1 on validation for each class (f1), for all classes "
        "together (global), or between the two (shrunk); from class frequencies (frequency); the best "
        "expected F1 on the set they are applied to (expected_f1)",
        ("fixed", "f1", "global", "shrunk", "frequency", "expected_f1"),
    )
    fixed: float = setting(
        0.5, "used by fixed, and by f1 for a class without a positive validation sample", low=0, high=1
    )
    shrinkage: float = setting(
        10.0,
        "shrunk: positive validation samples at which a class's own threshold and the global one have "
        "equal weight",
        low=0,
    )
    calibration: str = setting(
        "class",
        "of probabilities, for expected_f1 and estimated frequencies: none, per class, or one for all",
        ("none", "class", "pooled"),
    )
    frequencies: str = setting(
        "training",
        "of the classes, for frequency and expected_f1: training, estimated (on the set they are applied "
        "to), or a CSV file with the columns class,frequency",
    )
    weights: str = setting(
        "none",
        "of validation samples: equal, or those of split.strata, which give them the test set's mixture",
        ("none", "strata"),
    )
    max_labels: int = setting(
        0, "most labels per sample, those furthest above their thresholds; 0: no limit", low=0
    )
    consistent: bool = setting(False, "allow only labels of groups that the hierarchy's stage 1 predicts")


@dataclass(frozen=True)
class Ensemble(Section):
    """Which predictors are combined into one more, named ensemble."""

    members: str = setting("none", "none, all, or names of predictors separated by commas")
    method: str = setting(
        "mean",
        "mean of probabilities, mean of ranks, or mean of probabilities with weights learned on validation",
        ("mean", "rank_mean", "weighted"),
    )


@dataclass(frozen=True)
class Config:
    """A preset: its name, its purpose, and its settings by section.

    Attributes
    ----------
    purpose, cost, score : str
        Lines of ``--help``: what it is for, what it takes, what it reaches.
    networks : dict of tuple of str
        The networks of stage 02 by name, each with its ``section.field=value`` overrides.
    hierarchy_networks : dict of tuple of str
        Overrides of the networks of stage 03, by kind (`HIERARCHY_NETWORKS`).
    overrides : tuple of str
        Those of the command line, which take precedence.

    Raises
    ------
    UserError
        If settings contradict each other.
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
    hierarchy_networks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_names(self)
        _check_sizes(self)
        _check_network(self)
        _check_split(self.split)

    def for_network(self, name: str) -> "Config":
        """Return the settings of one of the networks of stage 02."""
        return override(self, self.networks[name])

    def for_hierarchy_network(self, kind: str) -> "Config":
        """Return the settings of one kind of the hierarchy's networks.

        Parameters
        ----------
        kind : str
            One of `HIERARCHY_NETWORKS`.

        Raises
        ------
        UserError
            If they contradict each other, or select trees instead of a network.
        """
        own = override(self, self.hierarchy_networks.get(kind, ()))
        if not own.is_network:
            raise UserError(f"hierarchy.train={own.hierarchy.train} needs networks, not network.kind=trees")
        if kind == "stage_1_single":  # one combination of groups per sample
            own = replace(own, training=replace(own.training, loss="cross_entropy"))
        return own

    @property
    def is_network(self) -> bool:
        """Whether a network is trained, as opposed to trees on the features alone."""
        return self.network.kind == "network"

    @property
    def uses_features(self) -> bool:
        """Whether the model uses the features of stage 01."""
        return self.network.features != "none"

    @property
    def feature_size(self) -> int:
        """Side of the arrays that the features are computed on, in pixels."""
        return self.features.size or max(self.data.sizes)

    @property
    def feature_folder(self) -> str:
        """Name of the folder of the features, which depends on all settings that they depend on."""
        chosen = self.features
        return f"features_{self.feature_size}_{chosen.denoise}_{chosen.segmentation}_{chosen.columns}"

    def section(self, name: str) -> dict[str, Any]:
        """Return the settings of one section as ``{"section.field": value}``."""
        return {f"{name}.{key}": value for key, value in dataclasses.asdict(getattr(self, name)).items()}


# names that stage 04 gives to a predictor or step of its own, and stage 03 to networks and their combinations
RESERVED_NAMES = ("comparison", "ensemble", "ensemble_predictions")
HIERARCHY_NAMES = re.compile(r"joint|(stage_[12]|hierarchy)(_.*)?")
HIERARCHY_NETWORKS = ("stage_1", "stage_1_single", "stage_2", "joint")  # kinds of networks of stage 03
SECTIONS = {
    item.name: item.type for item in dataclasses.fields(Config) if dataclasses.is_dataclass(item.type)
}


def override(base: Config, overrides: tuple[str, ...]) -> Config:
    """Apply ``section.field=value`` overrides, then those of the command line (``base.overrides``).

    Raises
    ------
    UserError
        For an unknown section or field, a value of the wrong type or out of bounds, or settings that
        contradict each other; the message lists what is valid.
    """
    changes: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    sources = [(f"preset {base.name}: ", text) for text in overrides]
    for source, text in [*sources, *(("--set ", text) for text in base.overrides)]:
        section, name, value = _parse_override(text, source)
        changes[section][name] = value
    sections = {section: replace(getattr(base, section), **fields) for section, fields in changes.items()}
    return replace(base, **sections)


def _check_names(config: Config) -> None:
    for kind in config.hierarchy_networks:
        if kind not in HIERARCHY_NETWORKS:
            raise UserError(
                f"preset {config.name}: unknown kind {kind!r} in hierarchy_networks; there are "
                f"{' '.join(HIERARCHY_NETWORKS)}{nearest(kind, HIERARCHY_NETWORKS)}"
            )
    for name in config.networks:
        check_name(name, f"preset {config.name}: network")
        of_another = [name.removesuffix(end) for end in ("_tta", "_folds") if name.endswith(end)]
        if name in RESERVED_NAMES or HIERARCHY_NAMES.fullmatch(name) or set(of_another) & {*config.networks}:
            raise UserError(
                f"preset {config.name}: {name!r} cannot name a network: another network, predictor or step "
                f"has this name; choose another"
            )


def _check_sizes(config: Config) -> None:
    size, sizes = config.training.size, ",".join(map(str, config.data.sizes))
    if len(set(config.data.sizes)) < len(config.data.sizes):
        raise UserError(f"data.sizes={sizes} lists a size twice")
    if size not in config.data.sizes:
        raise UserError(
            f"training.size={size} is not among data.sizes={sizes}: "
            f"add it, for example --set data.sizes={sizes},{size}"
        )
    if config.feature_size not in config.data.sizes:
        raise UserError(
            f"features.size={config.features.size} is not among data.sizes={sizes}; 0 selects the largest"
        )


def _check_network(config: Config) -> None:
    training = config.training
    if config.network.features == "all" and config.features.columns == "ten":
        raise UserError("network.features=all needs features.columns=all, which stage 01 computes")
    if not config.is_network and not config.uses_features:
        raise UserError("network.kind=trees needs features: network.features=ten or all")
    if config.network.weights_file and not config.network.pretrained:
        raise UserError(
            f"network.weights_file={config.network.weights_file} is unused with network.pretrained=false: "
            f"add network.pretrained=true, or leave the file out"
        )
    if training.early_stopping and training.keep != "validation_loss":
        raise UserError(
            f"training.early_stopping={training.early_stopping} monitors the validation loss: it needs "
            f"training.keep=validation_loss, not {training.keep}"
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


class SettingRow(typing.NamedTuple):
    """A setting for display: ``section.field``, its value as ``--set`` takes it, and its meaning."""

    name: str
    value: str
    meaning: str
    is_default: bool


def list_settings(config: Config) -> list[SettingRow]:
    """Return every setting with its value in `config`."""
    rows = []
    for section, kind in SECTIONS.items():
        for item in dataclasses.fields(kind):
            value = getattr(getattr(config, section), item.name)
            choices = f" ({' | '.join(item.metadata['choices'])})" if item.metadata["choices"] else ""
            meaning = item.metadata["meaning"] + choices
            is_default = value == item.default
            rows.append(SettingRow(f"{section}.{item.name}", format_value(value), meaning, is_default))
    return rows


def describe_settings(config: Config) -> str:
    """Return every setting with its value in `config` and its meaning, one per line."""
    return "\n".join(f"{row.name + '=' + row.value:<40}{row.meaning}" for row in list_settings(config))


def _parse_override(text: str, source: str) -> tuple[str, str, Any]:
    """Return section, field and value; `source` begins the message of a `UserError`."""
    path, equals, word = text.partition("=")
    section, dot, name = path.partition(".")
    if not (equals and dot):
        raise UserError(f"{source}{text}: expected section.field=value, for example training.epochs=5")
    if section not in SECTIONS:
        raise UserError(
            f"{source}{text}: unknown section {section!r}{nearest(section, SECTIONS)}; "
            f"there are {' '.join(SECTIONS)}"
        )
    fields = {item.name: item for item in dataclasses.fields(SECTIONS[section])}
    if name not in fields:
        raise UserError(
            f"{source}{text}: {section} has no field {name!r}{nearest(name, fields)}; "
            f"it has {' '.join(fields)}"
        )
    try:
        value = convert(word, fields[name].type)
    except ValueError:
        raise UserError(f"{source}{text}: expected {type_name(fields[name].type)}, not {word!r}") from None
    check_value(source + path, value, fields[name])
    return section, name, value
