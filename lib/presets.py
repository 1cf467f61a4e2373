"""The presets: named values of all settings, written as differences from the defaults or another preset."""

from dataclasses import replace

from lib.config import (
    HIERARCHY_NETWORKS,
    Config,
    Data,
    Ensemble,
    Features,
    Hierarchy,
    Network,
    Simulation,
    Split,
    Threshold,
    Training,
    override,
)
from lib.errors import UserError
from lib.settings import nearest

STRONG = Config(
    name="strong",
    purpose="Kaggle's images: a competition entry that trains on one GPU",
    cost="45 GB of arrays; about 2 hours on a T4 (estimated)",
    score="not measured yet: needs Kaggle's images",
    data=Data(sizes=(512,)),
    split=Split(validation=0.1, holdout=0.1),
    network=Network(architecture="resnet34", pretrained=True, dropout=0.5),
    training=Training(size=512, epochs=24, batch_size=32, learning_rate=1e-3, cycle_epochs=24.0),
    ensemble=Ensemble(members="all", method="weighted"),
)
DEMO = Config(
    name="demo",
    purpose="simulated cells, small images and networks: the whole pipeline on two CPU cores",
    cost="10 minutes on 2 CPU cores, 2.2 GB of memory",
    score="macro-F1 0.290 on its simulated test set (random guessing: about 0.06)",
    simulation=Simulation("demo", train_samples=3000, test_samples=1000, size=128, visibility=2.0),
    data=Data(sizes=(128,)),
    split=Split(validation=0.2, holdout=0.2),
    network=Network(architecture="resnet18"),
    training=Training(size=128, epochs=16, batch_size=32, learning_rate=1e-3, cycle_epochs=16.0),
    hierarchy=Hierarchy(train="stages"),
    ensemble=Ensemble(members="all", method="weighted"),
    networks={
        "baseline": (),
        "features_alone": ("network.features=ten", "network.kind=trees"),
    },
    hierarchy_networks={
        "stage_1": ("training.epochs=8", "training.cycle_epochs=8"),
        "stage_2": ("training.epochs=5", "training.cycle_epochs=5"),
    },
)
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
    hierarchy_networks={},
)
STANDARDISED = (
    "network.feature_scaling=standard", "network.feature_weights=equal", "network.feature_factor=3"
)  # fmt: skip
FUSION = replace(
    DEMO,
    name="fusion",
    purpose="simulated cells: do biological features help a network, and how good are they alone?",
    cost="16 minutes on 2 CPU cores, simulation included",
    score="none: it compares methods",
    simulation=Simulation("fusion", train_samples=3000, test_samples=1500, size=256, visibility=2.0),
    data=Data(sizes=(256, 96)),
    split=Split(validation=0.2),
    features=Features(columns="all"),
    hierarchy=Hierarchy(),
    threshold=Threshold(method="f1"),
    ensemble=Ensemble(),
    training=Training(size=96, epochs=12, batch_size=32, learning_rate=1e-3, cycle_epochs=12.0),
    networks={
        "network_alone": (),
        "with_ten": ("network.features=ten",),
        "with_ten_scaled": ("network.features=ten", "network.feature_factor=10"),
        "with_ten_standardised": ("network.features=ten", *STANDARDISED),
        "with_all_standardised": ("network.features=all", *STANDARDISED),
        "ten_alone": ("network.features=ten", "network.kind=trees"),
        "all_alone": ("network.features=all", "network.kind=trees"),
    },
)
RGB_512 = ("network.channels=RGB", "network.dropout=0.5", "training.size=512", "training.epochs=50")
LIU = Config(
    name="liu",
    purpose="Kaggle's images: Liu, Zhang, Zhou 2018, the rows of table 1 and the networks of section 6.3",
    cost="54 GB of arrays; about 10 hours on a T4 and 12 core-hours of features (estimated)",
    score="not measured yet: needs Kaggle's images",
    data=Data(sizes=(512, 224)),
    split=Split(validation=0.2, by="sample"),
    features=Features(denoise="paper", segmentation="paper"),
    threshold=Threshold(method="f1"),
    network=Network(architecture="resnet34", pretrained=True, fourth_channel="copy"),
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
        "zero": ("network.fourth_channel=zero",),
        "copied": ("training.tta=true",),
        "copied_dropout": ("network.dropout=0.5",),
        "rgb_512": RGB_512,
        "rgb_512_with_ten": (*RGB_512, "network.features=ten"),
    },
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
    cost="11 GB of arrays; about 4 hours on a T4 (estimated)",
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
)
HIERARCHY = replace(
    DEMO,
    name="hierarchy",
    purpose="simulated cells: does predicting location groups first help, and in which variant?",
    cost="25 minutes on 2 CPU cores",
    score="none: it compares methods",
    simulation=Simulation("hierarchy", train_samples=5000, test_samples=100, size=128, visibility=2.0),
    data=Data(sizes=(96,)),
    split=Split(validation=0.2, holdout=0.2),
    training=Training(size=96, epochs=12, batch_size=32, learning_rate=1e-3, cycle_epochs=12.0),
    hierarchy=STUDY,
    ensemble=Ensemble(),
    networks={"baseline": (), "baseline_resnet34": LARGER["baseline_resnet34"]},
    hierarchy_networks={"stage_2": ("training.epochs=8", "training.cycle_epochs=8")},
)
ALL = (
    DEMO,
    SMOKE,
    FUSION,
    HIERARCHY,
    STRONG,
    LIU,
    HOOGENBOOM,
)
PRESETS = {preset.name: preset for preset in ALL}


def load(preset: str, overrides: list[str]) -> Config:
    """Return a preset with ``section.field=value`` overrides applied; all its networks are validated.

    Raises
    ------
    UserError
        For an unknown preset, section or field, a value of the wrong type or out of bounds, or settings that
        contradict each other; the message lists what is valid.
    """
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}{nearest(preset, PRESETS)}; there are {' '.join(PRESETS)}")
    config = override(replace(PRESETS[preset], overrides=tuple(overrides)), ())
    for name in config.networks:
        config.for_network(name)
    if config.hierarchy.train != "none":
        for kind in HIERARCHY_NETWORKS:
            config.for_hierarchy_network(kind)
    return config


def describe() -> str:
    """Return the description of all presets that ``--help`` shows."""
    lines = ["presets:"]
    for preset in PRESETS.values():
        lines += [
            f"  {preset.name:<12}{preset.purpose}",
            f"  {'':<12}cost:  {preset.cost}",
            f"  {'':<12}score: {preset.score}",
        ]
    return "\n".join(lines)
