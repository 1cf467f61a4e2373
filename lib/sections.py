"""The settings by section: their meaning, default and valid values.

All values are validated on construction (`lib.settings`), whether they come from ``--set`` or from a preset
written in Python.
"""

from dataclasses import dataclass
from typing import Any

from lib.errors import UserError
from lib.names import check_name
from lib.settings import Section, seed_setting, setting

# implemented in `lib.learning.losses`; listed here, where torch must not be loaded
LOSSES = (
    "bce",
    "soft_margin",
    "cross_entropy",
    "focal",
    "asymmetric",
    "focal_lovasz_log",
    "distribution_balanced",
)
# those that balance the classes themselves, and take neither class weights nor smoothed labels
BALANCED_LOSSES = ("focal_lovasz_log", "distribution_balanced")


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
    head: str = setting(
        "linear",
        "what follows the convolutions: a last layer; mean and maximum, and two layers (the winner of 2018); "
        "or a last layer on mean and maximum of every stage",
        ("linear", "avgmax", "multilevel"),
    )
    pooling: str = setting(
        "own",
        "of the linear head: the network's own, mean, maximum, generalised mean, or attention",
        ("own", "avg", "max", "gem", "attention"),
    )
    stem_pool: bool = setting(False, "one more max-pool after the stem, for large images (ResNet, DenseNet)")
    normalisation: str = setting(
        "standard",
        "of the input: by mean and std of the training images, or of each image itself, to [0, 1] "
        "(Hoogenboom), or that of network.start",
        ("standard", "image", "unit", "start"),
    )
    pretrained: bool = setting(
        False, "start from ImageNet weights, of a package where there is one, else of timm's hub"
    )
    start: str = setting(
        "",
        "start from these weights instead: a file, its https address, or the folder of a network of this "
        "project",
    )
    fourth_channel: str = setting(
        "timm",
        "initial weights of the yellow channel: timm's own, zero, or copied from blue (Liu)",
        ("timm", "zero", "copy"),
    )
    dropout: float = setting(
        0.0, "dropout rate before the last layer; avgmax has its own, 0.5", low=0, high=0.95
    )
    drop_path: float = setting(
        0.0, "stochastic depth: how often the last residual block is skipped in training", low=0, high=0.95
    )
    features: str = setting("none", "features of stage 01 that the network takes", ("none", "ten", "all"))
    fusion: str = setting(
        "pooled",
        "what features are concatenated with: the pooled representation, also without a layer between it and "
        "the last one (linear), or the backbone's 28 logits (Liu)",
        ("pooled", "linear", "logits"),
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

    size: int = setting(512, "side of the network's input in pixels", low=16)
    array_size: int = setting(
        0, "side of the arrays that images are read from, one of data.sizes; 0: training.size", low=0
    )
    crop: tuple[float, ...] = setting(
        (0,),
        "smallest and largest side of the random crops that it is trained on, in pixels of the array, for "
        "example 448,640, or as shares of its side, 0.6,1; one number: all of this side; 0: whole images",
        low=0,
    )
    epochs: int = setting(
        20, "passes over the training samples; 0: predict with network.start as it is", low=0
    )
    batch_size: int = setting(32, "samples per batch", low=2)
    learning_rate: float = setting(1e-3, "highest learning rate of the schedule", low=1e-8, high=10)
    backbone_rate: float = setting(
        1.0,
        "factor of the backbone's learning rate, of which the head has all; 0: it stays as it is",
        low=0,
        high=1,
    )
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
    warmup_epochs: float = setting(
        0.0,
        "cosine and constant: epochs over which the rate first grows linearly; one_cycle: over which it "
        "rises, 0 for 0.3 of all",
        low=0,
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
        "weight of a class's positive samples: 1, its ratio of negatives to positives, or the root of that; "
        "at most 20",
        ("none", "balanced", "root"),
    )
    label_smoothing: float = setting(
        0.0, "label smoothing: share by which targets move towards the class's frequency", low=0, high=0.5
    )
    sampling: str = setting(
        "all",
        "every sample once per epoch, or drawn at random with rare classes more often",
        ("all", "rare"),
    )
    weight_decay: float = setting(
        0.01, "weight decay of AdamW, for all weights but those of norms and biases", low=0, high=1
    )
    clip_gradient: float = setting(0.0, "largest norm of the gradient; 0: no clipping", low=0)
    accumulate: int = setting(1, "batches whose gradients are accumulated for one step", low=1)
    ema_decay: float = setting(
        0.0,
        "decay of an exponential moving average of the weights, which is evaluated and kept; it warms up; "
        "0: none",
        low=0,
        high=0.99999,
    )
    average_epochs: int = setting(
        0,
        "average the weights of this many last epochs, with batch-norm statistics of their own; 0: none",
        low=0,
    )
    start_size: int = setting(
        0, "side of the input in the first quarter of the epochs, from which it grows; 0: off", low=0
    )
    augmentation: str = setting(
        "flips_affine",
        "random changes of training images: none, flips and quarter rotations, or also affine transforms",
        ("none", "flips", "flips_affine"),
    )
    intensity: float = setting(
        0.0,
        "largest relative change of a channel's brightness and gamma in training, for example 0.3",
        low=0,
        high=4,
    )
    channel_dropout: float = setting(
        0.0, "share of training images that lack one of the reference stains, never green", low=0, high=1
    )
    cutmix: float = setting(
        0.0, "share of training images with a rectangle of another, and labels mixed by area", low=0, high=1
    )
    tta: bool = setting(
        False,
        "add a predictor <network>_tta, the mean over the eight flips and quarter rotations; not of the "
        "training samples",
    )
    tta_crops: int = setting(
        0,
        "crops that tta predicts, in a square grid, each in eight views: 1, 4, 9 or 16; 0: the whole image",
        low=0,
        high=16,
    )
    tta_combine: str = setting("mean", "of the probabilities of all views of tta", ("mean", "max"))
    precision: str = setting(
        "auto",
        "auto: bfloat16 where the device is fast at it with this network, float16 on older GPUs, else "
        "float32",
        ("auto", "float32", "bfloat16", "float16"),
    )
    compile: bool = setting(False, "compile the network with torch.compile: faster steps, a slower start")
    cudnn_benchmark: bool = setting(
        False, "on GPUs: use the kernels that are measured to be fastest; results are then not reproducible"
    )
    checkpoint_steps: int = setting(0, "steps between two checkpoints within an epoch; 0: none", low=0)
    keep: str = setting(
        "validation_loss",
        "which epoch's weights are kept: lowest validation loss, highest macro-F1, or the last epoch's",
        ("validation_loss", "macro_f1", "last"),
    )
    seed: int = seed_setting(0, "seed of initial weights, order of samples, augmentation and dropout")

    @property
    def crop_sides(self) -> tuple[int, int]:
        """Smallest and largest side of the random crops, in pixels of the array; both 0: whole images."""
        array = self.array_size or self.size
        sides = [round(side * array if side <= 1 else side) for side in self.crop]
        return sides[0], sides[-1]

    @property
    def augmented_views(self) -> dict[str, Any]:
        """What ``predictor.json`` states about test-time augmentation, beside the number of views."""
        return {"crops": self.tta_crops, "combine": "max" if self.tta_combine == "max" else ""}


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
class Submit(Section):
    """What the submission has for test images that duplicate others."""

    duplicates: str = setting(
        "network",
        "labels of test images that duplicate others: the network's; those of the mean prediction of "
        "duplicates within the test set (average); or those of a duplicate in train, a leak (label)",
        ("network", "average", "label"),
    )
