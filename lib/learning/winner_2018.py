"""The published network of the competition's winner: which tensors of its file are which of ours.

It is a DenseNet121 for four channels with the head ``avgmax``, released under the MIT license by the
repository CellProfiling/densenet (Ouyang et al. 2019, Analysis of the Human Protein Atlas Image
Classification competition). Of the file's tensors, most are the backbone's once more, under other names.
"""

import re

import torch

from lib.labels import CLASSES
from lib.learning.weights_file import Weights

LICENSE = "mit"
# of pixels from 0 to 1, R G B Y: part of the network
MEAN = (0.074598, 0.050630, 0.050891, 0.076287)
STD = (0.122813, 0.085745, 0.129882, 0.119411)
TRAINED_ON = "Kaggle's training images (most of them: one of five folds) and external ones"
# as a network of ours states them in its model.json
DESCRIPTION = {
    "architecture": "densenet121",
    "outputs": list(CLASSES),
    "initial_weights": {"license": LICENSE, "trained_on": TRAINED_ON},
}
FIRST = "backbone.features.conv0.weight"
HEAD = {"bn1": "neck.bn1", "fc1": "neck.fc1", "bn2": "neck.bn2", "logit": "last"}


def translate(every: Weights) -> Weights | None:
    """Return the tensors of the winner's file under the names that ours have; None for other files.

    Parameters
    ----------
    every : dict of Tensor
        The file's; all names may begin with the same prefix, such as ``state_dict.module.``.
    """
    prefix = next(
        (name.removesuffix(FIRST) for name in every if re.fullmatch(rf"(.*\.)?{FIRST}", name)), None
    )
    if prefix is None or not all(f"{prefix}{layer}.weight" in every for layer in HEAD):
        return None
    ours: Weights = {}
    for name, value in every.items():
        name = name.removeprefix(prefix)
        layer, _, rest = name.partition(".")
        if name.startswith("backbone.features."):
            ours[name] = value
        elif layer in HEAD:
            ours[f"head.{HEAD[layer]}.{rest}"] = value
    grey_levels = {"mean": torch.tensor(MEAN) * 255, "std": torch.tensor(STD) * 255}
    return ours | {name: values.view(1, -1, 1, 1) for name, values in grey_levels.items()}
