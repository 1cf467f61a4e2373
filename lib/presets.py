"""The presets: named values of all settings, written as differences from the defaults or another preset."""

from dataclasses import replace

from lib.config import Config, override
from lib.errors import UserError
from lib.sections import Data, Ensemble, Features, Hierarchy, Network, Simulation, Split, Threshold, Training
from lib.settings import nearest

# why each of its settings is as it is: docs/recipe.md
STRONG = Config(
    name="strong",
    purpose="Kaggle's images: a competition entry that trains on one GPU, in five folds",
    cost="45 GB of arrays; about 16 hours on a T4, 3 with split.folds=1 (estimated)",
    score="not measured yet: needs Kaggle's images; 0.49 to 0.53 on the leaderboard (estimated)",
    data=Data(sizes=(512,)),
    split=Split(folds=5),
    network=Network(architecture="densenet121", head="avgmax", pretrained=True),
    training=Training(
        size=512,
        crop=(0.667, 1),
        epochs=24,
        batch_size=24,
        learning_rate=5e-4,
        schedule="one_cycle",
        loss="focal_lovasz_log",
        weight_decay=0.05,
        clip_gradient=1.0,
        ema_decay=0.999,
        intensity=0.2,
        tta=True,
    ),
)
STRONG_FULL = replace(
    STRONG,
    name="strong_full",
    purpose="Kaggle's full-size TIFF images: strong on arrays of 768 px, crops of 448 to 640 px",
    cost="101 GB of arrays; about 20 hours on a T4 (estimated)",
    score="not measured yet: needs Kaggle's images; 0.50 to 0.54 on the leaderboard (estimated)",
    data=Data(sizes=(768,)),
    training=replace(STRONG.training, array_size=768, crop=(448, 640), tta_crops=4),
)
STRONG_ENSEMBLE = replace(
    STRONG,
    name="strong_ensemble",
    purpose="Kaggle's images: strong, and a ResNet34 trained in the same way; the mean of both",
    cost="45 GB of arrays; about 24 hours on a T4 (estimated)",
    score="not measured yet: needs Kaggle's images; 0.50 to 0.54 on the leaderboard (estimated)",
    networks={"densenet121": (), "resnet34": ("network.architecture=resnet34",)},
    ensemble=Ensemble(members="densenet121_tta,resnet34_tta"),
)
DEMO = Config(
    name="demo",
    purpose="simulated cells, small images and networks: the whole pipeline on two CPU cores",
    cost="8 minutes on 2 CPU cores, 2.6 GB of memory",
    score="macro-F1 0.388 on its simulated test set (random guessing: about 0.06)",
    simulation=Simulation("demo", train_samples=3000, test_samples=1000, size=128, visibility=2.0),
    data=Data(sizes=(128,)),
    split=Split(validation=0.2, holdout=0.2),
    network=Network(architecture="tf_efficientnet_lite0", pretrained=True),
    training=Training(
        size=128, epochs=8, batch_size=16, learning_rate=8e-3, schedule="one_cycle", ema_decay=0.99,
        intensity=0.3,
    ),
    hierarchy=Hierarchy(train="stages"),
    ensemble=Ensemble(members="all", method="weighted"),
    networks={
        "baseline": (),
        "resnet18": (
            "network.architecture=resnet18", "network.pretrained=false", "training.epochs=2",
            "training.batch_size=32", "training.learning_rate=2e-3",
        ),
        "features_alone": ("network.features=ten", "network.kind=trees"),
    },
    hierarchy_networks={"stage_1": ("training.epochs=1",), "stage_2": ("training.epochs=1",)},
)  # fmt: skip
SMOKE = replace(
    DEMO,
    name="smoke",
    purpose="the demo in miniature, for tests",
    cost="under a minute on 2 CPU cores",
    score="not meaningful",
    simulation=Simulation("smoke", train_samples=96, test_samples=24, size=64, visibility=2.0),
    data=Data(sizes=(64,), shard_rows=32),
    network=Network(architecture="resnet10t"),
    training=Training(size=64, epochs=2, batch_size=16, learning_rate=1e-3, cycle_epochs=2.0),
    hierarchy=Hierarchy(train="all"),
    networks={"baseline": (), "features_alone": DEMO.networks["features_alone"]},
    hierarchy_networks={},
)
STANDARDISED = (
    "network.feature_scaling=standard", "network.feature_weights=equal", "network.feature_factor=3"
)  # fmt: skip
# the samples of the studies, which the benchmarks simulate once per seed
STUDY_CELLS = Simulation("study", train_samples=3000, test_samples=4000, size=128, visibility=2.0)
FUSION = replace(
    DEMO,
    name="fusion",
    purpose="simulated cells: do biological features help a network, and how good are they alone?",
    cost="about 40 minutes on 2 CPU cores, simulation included (estimated)",
    score="none: it compares methods",
    simulation=STUDY_CELLS,
    split=Split(validation=0.2),
    features=Features(columns="all"),
    hierarchy=Hierarchy(),
    ensemble=Ensemble(members="network_alone,all_alone"),
    networks={
        "network_alone": (),
        "layer_alone": ("network.features=ten", "network.feature_factor=0"),  # its features are all 0
        "with_ten": ("network.features=ten",),
        "with_ten_scaled": ("network.features=ten", "network.feature_factor=10"),
        "with_ten_standardised": ("network.features=ten", *STANDARDISED),
        "with_all_standardised": ("network.features=all", *STANDARDISED),
        "with_all_linear": ("network.features=all", *STANDARDISED, "network.fusion=linear"),
        "ten_alone": ("network.features=ten", "network.kind=trees"),
        "all_alone": ("network.features=all", "network.kind=trees"),
    },
)
DROPOUT = "network.dropout=0.5"
FOURTH_CHANNEL = replace(
    FUSION,
    name="fourth_channel",
    purpose="simulated cells: which initial weights should the fourth channel of a pretrained network have?",
    cost="about 35 minutes on 2 CPU cores, simulation included (estimated)",
    features=Features(),
    ensemble=Ensemble(),
    networks={
        "zero": ("network.fourth_channel=zero",),
        "copied": ("network.fourth_channel=copy",),
        "timm": ("network.fourth_channel=timm",),
        "zero_dropout": ("network.fourth_channel=zero", DROPOUT),
        "copied_dropout": ("network.fourth_channel=copy", DROPOUT),
        "timm_dropout": ("network.fourth_channel=timm", DROPOUT),
    },
)
RGB_512 = ("network.channels=RGB", "network.dropout=0.5", "training.size=512", "training.epochs=50")
WITH_TEN = (*RGB_512, "network.features=ten")
LIU = Config(
    name="liu",
    purpose="Kaggle's images: Liu, Zhang, Zhou 2018, every network, table and figure, and its future work",
    cost="54 GB of arrays; about 27 hours on a T4 and 12 core-hours of features (estimated)",
    score="not measured yet: needs Kaggle's images",
    data=Data(sizes=(512, 224)),
    split=Split(validation=0.2, by="sample"),
    features=Features(denoise="paper", segmentation="paper", columns="all"),
    threshold=Threshold(method="frequency", frequencies="estimated"),
    network=Network(architecture="resnet34.tv_in1k", pretrained=True, fourth_channel="copy", fusion="logits"),
    training=Training(
        size=224,
        epochs=40,
        batch_size=64,
        learning_rate=0.01,
        cycle_epochs=10.0,
        weight_decay=0.0,
        keep="last",
    ),
    networks={
        "zero_20": ("network.fourth_channel=zero", "training.epochs=20"),
        "zero_20_resnet50": (
            "network.fourth_channel=zero",
            "training.epochs=20",
            "network.architecture=resnet50.tv_in1k",
        ),
        "zero": ("network.fourth_channel=zero",),
        "copied": ("training.tta=true",),
        "copied_dropout": ("network.dropout=0.5",),
        "rgb_512": RGB_512,
        "rgb_512_with_ten": WITH_TEN,
        # their future work (6.3.1); external images are not among it yet
        "rgb_512_weight_decay": (*RGB_512, "training.weight_decay=0.01"),
        "rgb_512_with_ten_scaled": (*WITH_TEN, "network.feature_factor=10"),
        "rgb_512_with_all": (*RGB_512, "network.features=all"),
        "rgb_512_with_ten_pooled": (*WITH_TEN, "network.fusion=pooled"),  # ours
    },
)
# of its published files, the only one that is a single network for images of 768 px
WINNERS_FILE = (
    "https://github.com/CellProfiling/densenet/releases/download/v0.1.0/external_crop512_focal_slov_hardlog_"
    "class_densenet121_dropout_i768_aug2_5folds_fold0_final.pth"
)
WINNER_2018 = Config(
    name="winner_2018",
    purpose="Kaggle's images: the published network of the competition's winner, as it is, without training",
    cost="45 GB of arrays; about 20 minutes on a T4 (estimated)",
    score="not measured yet: needs Kaggle's images; its validation score is not honest",
    data=Data(sizes=(512,)),
    split=Split(validation=0.5),
    network=Network(architecture="densenet121", head="avgmax", start=WINNERS_FILE, normalisation="start"),
    training=Training(size=768, array_size=512, epochs=0),
    # its probabilities for the validation images, which it has seen, are no guide to those for others
    threshold=Threshold(method="frequency", calibration="none"),
    # whole images as large as those that its training crops were cut from, or as those crops
    networks={"winner_768": (), "winner_512": ("training.size=512",)},
)
STUDY = Hierarchy(train="all", stage_1="both", other="both")
# ResNet34 is as deep as two ResNet18 in sequence, ResNet50 is the thesis's suggestion, and ResNet101 has as
# many parameters as four ResNet18
LARGER = {
    "baseline_resnet34": ("network.architecture=resnet34",),
    "baseline_resnet50": ("network.architecture=resnet50",),
    "baseline_resnet101": ("network.architecture=resnet101",),
}
HOOGENBOOM = Config(
    name="hoogenboom",
    purpose="Kaggle's images: Hoogenboom 2019, every network, table and figure, and its future work",
    cost="11 GB of arrays; about 5 hours on a T4 (estimated)",
    score="not measured yet: needs Kaggle's images",
    data=Data(sizes=(256,)),
    split=Split(validation=0.2, holdout=0.2, rare_class_minimum=0.01, by="sample", method="random"),
    network=Network(architecture="resnet18", normalisation="unit"),
    training=Training(
        size=256,
        epochs=100,
        batch_size=64,
        learning_rate=1e-3,
        schedule="constant",
        early_stopping=6,
        loss="soft_margin",
        weight_decay=0.0,
        augmentation="none",
    ),
    hierarchy=STUDY,
    threshold=Threshold(method="fixed"),
    networks={"baseline": (), **LARGER},
    # the thesis's second suggestion: with it, stage 2 may do without "other"
    hierarchies={"hierarchy_two": ("hierarchy.grouping=two", "hierarchy.stage_1=multi_label")},
)
HIERARCHY = replace(
    DEMO,
    name="hierarchy",
    purpose="simulated cells: does predicting location groups first help, and in which variant?",
    cost="about 45 minutes on 2 CPU cores (estimated)",
    score="none: it compares methods",
    simulation=STUDY_CELLS,
    split=Split(validation=0.2),
    hierarchy=STUDY,
    ensemble=Ensemble(),
    networks={"baseline": ()},
    hierarchy_networks={},
)
# one step of the recipe after another: each network has the settings of the one before, and one more
IMAGENET = ("network.pretrained=true",)
HEAD = (*IMAGENET, "network.head=avgmax")
CROPS = (*HEAD, "training.crop=0.667,1")
LOSS = (*CROPS, "training.loss=focal_lovasz_log")
OPTIMIZER = (
    *LOSS, "training.schedule=one_cycle", "training.learning_rate=2e-3", "training.weight_decay=0.05",
    "training.clip_gradient=1",
)  # fmt: skip
EMA = (*OPTIMIZER, "training.ema_decay=0.999", "training.tta=true")
LADDER = replace(
    DEMO,
    name="ladder",
    purpose="simulated cells: what does each step from random weights to the recipe of strong gain?",
    cost="40 minutes on 2 CPU cores; the benchmark, with folds and three seeds, 3 hours",
    score="none: it compares methods",
    simulation=STUDY_CELLS,
    split=Split(validation=0.2),
    network=Network(architecture="tf_efficientnet_lite0", dropout=0.5),
    training=Training(size=128, epochs=6, batch_size=16, learning_rate=1e-3, cycle_epochs=6.0),
    hierarchy=Hierarchy(),
    ensemble=Ensemble(members="ema_tta,second_network_tta"),
    networks={
        "first_edition": (),
        "imagenet": IMAGENET,
        "head": HEAD,
        "crops": CROPS,
        "loss": LOSS,
        "optimizer": OPTIMIZER,
        "ema": EMA,
        # its ImageNet weights are in no package; random ones need more epochs
        "second_network": (
            *EMA, "network.architecture=resnet18", "network.pretrained=false", "training.epochs=16",
            "training.learning_rate=1e-3",
        ),
        "multilevel": (*IMAGENET, "network.head=multilevel"),  # no step: in place of `head`
    },
    hierarchy_networks={},
)  # fmt: skip
ALL = (
    DEMO,
    SMOKE,
    FUSION,
    FOURTH_CHANNEL,
    HIERARCHY,
    LADDER,
    STRONG,
    STRONG_FULL,
    STRONG_ENSEMBLE,
    LIU,
    HOOGENBOOM,
    WINNER_2018,
)
PRESETS = {preset.name: preset for preset in ALL}


def load(preset: str, overrides: list[str]) -> Config:
    """Return a preset with overrides applied (`lib.overrides`); all its networks are validated.

    Raises
    ------
    UserError
        For an unknown preset, target, section or field, a value of the wrong type or out of bounds, settings
        that contradict each other, or an override without a target of what a network has of its own; the
        message lists what is valid.
    """
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}{nearest(preset, PRESETS)}; there are {' '.join(PRESETS)}")
    config = override(replace(PRESETS[preset], overrides=tuple(overrides)), ())
    config.for_all_targets()  # each is validated on construction
    return config


def describe() -> str:
    """Return the description of all presets that ``--help`` shows."""
    lines = ["presets:"]
    for preset in PRESETS.values():
        lines += [
            f"  {preset.name:<17}{preset.purpose}",
            f"  {'':<17}cost:  {preset.cost}",
            f"  {'':<17}score: {preset.score}",
        ]
    return "\n".join(lines)
