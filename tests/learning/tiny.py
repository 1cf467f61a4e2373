"""Small networks and prepared runs that the tests of lib/learning share."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lib import cli
from lib.data.run_data import RunData
from lib.learning import models, task
from lib.learning.devices import make_deterministic
from lib.learning.models import Classifier
from lib.learning.network_spec import NetworkSpec
from lib.learning.task import Task
from lib.learning.training_data import TrainingData
from lib.report import data_figures
from lib.run import Run
from lib.sections import Network
from tests.conftest import call, write_kaggle

STATISTICS = {"mean": [127.0] * 4, "std": [74.0] * 4}
NO_FEATURES = torch.zeros(2, 0)
TINY = ("training.size=16", "data.sizes=16", "network.architecture=test_resnet", "data.shard_rows=8",
        "training.epochs=1", "training.precision=float32")  # fmt: skip


def describe(
    settings: Network, outputs: int = 3, features: pd.DataFrame | None = None, **more: Any
) -> NetworkSpec:
    """Describe a network of the settings."""
    return NetworkSpec(
        architecture=settings.architecture,
        channels=settings.channels,
        normalisation=settings.normalisation,
        outputs=[f"output {number}" for number in range(outputs)],
        classes=list(range(outputs)),
        precision="float32",
        dropout=settings.dropout,
        head=settings.head,
        pooling=settings.pooling,
        stem_pool=settings.stem_pool,
        features=[] if features is None else list(features),
        feature_scaling=settings.feature_scaling,
        fusion=settings.fusion,
        fusion_width=settings.fusion_width,
        **{"size": 32} | more,
    )


def network(
    settings: Network | None = None, outputs: int = 3, features: pd.DataFrame | None = None, **more: Any
) -> Classifier:
    """Build a network of the settings, by default timm's smallest, with the same weights each time."""
    settings = settings or Network(architecture="test_resnet")
    make_deterministic(7)
    spec = describe(settings, outputs, features, **more)
    return models.build(spec, settings, **STATISTICS, features=features)


def images(count: int = 2, size: int = 32, seed: int = 0) -> np.ndarray:
    """Return random images, shape (N, H, W, 4), uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 4), dtype=np.uint8)


def logits(model: Classifier, images_BHWK: np.ndarray, features_BF: np.ndarray | None = None) -> torch.Tensor:
    """Return a network's logits in evaluation mode."""
    features = np.zeros((len(images_BHWK), 0), np.float32) if features_BF is None else features_BF
    with torch.inference_mode():
        return model.eval()(torch.from_numpy(images_BHWK), torch.from_numpy(features))


def prepare(folder: Path, *settings: str, train: int = 40, features: bool = False) -> Run:
    """Prepare a run on 40 labelled and 5 test samples of 16 px, without figures."""
    raw = write_kaggle(folder / "raw", train=train) if not (folder / "raw").exists() else folder / "raw"
    options = [
        "--preset",
        "smoke",
        "--data",
        raw,
        "--work",
        folder,
        "--workers",
        "1",
        "--set",
        *TINY,
        *settings,
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_figures, "draw", lambda *_arguments: None)
        call("00_prepare", *options)
        if features:
            call("01_features", *options)
    return cli.start(cli.network_parser("A test. \n"), [str(option) for option in options])


def reread(run: Run, *settings: str, **options: Any) -> Run:
    """Return a run with further overrides of settings, and other options of the command line."""
    from lib import presets

    config = presets.load("smoke", [*run.config.overrides, *settings])
    return replace(run, config=config, options=argparse.Namespace(**vars(run.options) | options))


def class_task(run: Run, name: str = "baseline") -> Task:
    """Return the task of one of the preset's networks."""
    own = run.for_network(name)
    data = RunData.read(own)
    return task.of_all_classes(name, own, TrainingData.read(own, data))
