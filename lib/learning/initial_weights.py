"""Initial weights from a user's file, fitted to a network by name and shape.

The file may hold a state dict of timm's or torchvision's, alone or inside a training checkpoint, or a network
of this project. Its tensors lie under a prefix such as ``module.`` or ``backbone.``, which is found by
trying.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import adapt_input_conv
from torch import nn

from lib import files
from lib.console import info, warn
from lib.errors import UserError
from lib.learning import downloads, packaged_weights, weights_file, winner_2018
from lib.learning.origin import Origin
from lib.learning.packaged_weights import Package
from lib.learning.weights_file import Weights, same_shape

MIN_FIT = 0.9  # of the tensors and of the parameters, of the network as well as of the file
# timm's names for the functions that rename the tensors of a network's original authors
FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")


def load(backbone: nn.Module, architecture: str, outputs: list[str], setting: str) -> Origin:
    """Copy the weights of a file into a network, those of the last layer only from one of our own networks.

    Parameters
    ----------
    backbone : nn.Module
        timm's network; modified in place.
    architecture : str
        Its name.
    outputs : list of str
        Names of the outputs of its last layer.
    setting : str
        ``network.start``: a file, its address, or the folder of a network of this project.

    Raises
    ------
    UserError
        If the file cannot be read without running code, holds values that are not finite, or too few of its
        tensors fit the network (`MIN_FIT`); the message says how many fit, and the first that does not.
    """
    is_address = downloads.is_address(setting)
    path = (
        downloads.fetch(setting)
        if is_address
        else weights_file.find(Path(setting).expanduser(), architecture)
    )
    every, known = weights_file.read(path), _description(path)
    winners = winner_2018.translate(every)
    if winners is not None:
        every, known = winners, winner_2018.DESCRIPTION
    weights, prefix = _under_best_prefix(every, backbone)
    keeps_last = prefix.endswith("backbone.") and known.get("outputs", outputs) == outputs
    fit = _Fit.of(backbone, weights, keeps_last)
    if not fit.is_complete:
        for converted in _converted(every, backbone, architecture):
            fit = max(fit, _Fit.of(backbone, converted, False), key=lambda one: one.share)
    if fit.share < MIN_FIT or not fit.has_first_layer:
        is_of = f" (of {known['architecture']})" if "architecture" in known else ""
        raise UserError(
            f"network.start={path}{is_of} does not fit {architecture}: {fit.describe()}, expected at "
            f"least {MIN_FIT:.0%} and the first layer; {fit.first_unfitting()}: name a file with timm's "
            f"weights of {architecture}, or train from scratch with --set network.pretrained=false"
        )
    parent = prefix.removesuffix("backbone.")
    rest = {
        name.removeprefix(parent): value
        for name, value in every.items()
        if parent != prefix and name.startswith(parent) and not name.startswith(prefix)
    }
    _copy(fit, backbone, path, rest)
    source = {"source": setting if is_address else str(path)} | weights_file.identify(path)
    origin = {name: str(value) for name, value in known.get("initial_weights", {}).items()}
    source["license"] = origin.get("license", "unknown")
    if "trained_on" in origin:
        source["trained_on"] = origin["trained_on"]
        warn(f"{path} was trained on {origin['trained_on']}: scores on those samples are too high")
    complete = len(fit.fitting) == sum(value.is_floating_point() for value in backbone.state_dict().values())
    return Origin(source, fit.channels, rest, known.get("outputs", []), complete)


def load_package(backbone: nn.Module, package: Package, path: Path) -> Origin:
    """Copy the weights of an installed package's file into a network, without those of the last layer.

    Raises
    ------
    UserError
        If the file cannot be read, or does not fit.
    """
    fit = _Fit.of(backbone, packaged_weights.read(path, backbone), keeps_last=False)
    if not fit.is_complete:
        raise UserError(f"{path}: {fit.first_unfitting()}: install {package.name} again")
    _copy(fit, backbone, path, {})
    return Origin({"source": f"package {package.name}", "license": package.license}, fit.channels)


def _copy(fit: "_Fit", backbone: nn.Module, path: Path, rest: Weights) -> None:
    """Copy the fitting tensors into a network; a `UserError` if a value, also of the rest, is not finite."""
    for name, value in (rest | fit.fitting).items():
        if not value.float().isfinite().all():
            raise UserError(
                f"network.start={path}: {name} holds values that are not finite; download or train it again"
            )
    backbone.load_state_dict(fit.counters | fit.fitting, strict=False)
    info(f"  initial weights from {path}: {fit.describe()}")
    if not fit.is_complete:
        warn(f"{path}: {fit.first_unfitting()}; such tensors start at random")


def _description(path: Path) -> dict[str, Any]:
    """Return the ``model.json`` beside the weights of a network of this project; empty for other files."""
    with suppress(UserError):
        content = files.read_json(path.with_name("model.json"))
        if isinstance(content, dict) and isinstance(content.get("initial_weights", {}), dict):
            return content
    return {}


def _under_best_prefix(every: Weights, backbone: nn.Module) -> tuple[Weights, str]:
    """Return the tensors under the prefix with which most names are the network's, and the prefix.

    Of several with equally many, a moving average is preferred, as timm does.
    """
    names = set(backbone.state_dict())
    count: Counter[str] = Counter()
    for name in every:
        for start in [0, *(match.end() for match in re.finditer(r"\.", name))]:
            count[name[:start]] += name[start:] in names
    prefix = max(count, key=lambda one: (count[one], "ema" in one or "average" in one, -len(one)))
    return {name.removeprefix(prefix): every[name] for name in every if name.startswith(prefix)}, prefix


def _converted(every: Weights, backbone: nn.Module, architecture: str) -> Iterator[Weights]:
    """Yield the tensors as timm renames and reshapes those of the network's original authors."""
    module = sys.modules[timm.models.model_entrypoint(architecture).__module__]
    for rename in (getattr(module, name) for name in FILTERS if hasattr(module, name)):
        for wrapper in ("state_dict_ema.", "model_ema.", "state_dict.", "model.", ""):
            inside = {name.removeprefix(wrapper): every[name] for name in every if name.startswith(wrapper)}
            if inside:
                with suppress(Exception):  # it expects the tensors of its own network
                    renamed = rename(
                        {name.removeprefix("module."): inside[name] for name in inside}, backbone
                    )
                    yield {name: value for name, value in renamed.items() if weights_file.is_usable(value)}
                break


class _Fit(NamedTuple):
    """Which tensors of a file fit a network.

    Attributes
    ----------
    expected : dict of Tensor
        The network's, of real numbers, without those of a last layer that is not to be loaded.
    found : dict of Tensor
        The file's, likewise, the first layer's adapted to the network's channels.
    counters : dict of Tensor
        The file's that are integers, such as the number of batches; many files lack them.
    first_layers : list of str
        Names of the weights of the layers that receive the image.
    channels : int
        Input channels of the file's first layer; 0 where it has none.
    """

    expected: Weights
    found: Weights
    counters: Weights
    first_layers: list[str]
    channels: int

    @classmethod
    def of(cls, backbone: nn.Module, weights: Weights, keeps_last: bool) -> "_Fit":
        """Compare a file's tensors with a network's; the last layer's only if `keeps_last` and they fit."""
        own = backbone.state_dict()
        last = tuple(f"{name}." for name in last_layers(backbone))
        dropped = {
            name
            for name in own.keys() | weights.keys()
            if name.startswith(last) and not (keeps_last and same_shape(own, weights, name))
        }
        own, weights = (
            {name: value for name, value in one.items() if name not in dropped} for one in (own, weights)
        )
        expected, found = (
            {name: value for name, value in one.items() if value.is_floating_point()}
            for one in (own, weights)
        )
        counters = {
            name: value
            for name, value in weights.items()
            if name not in found and same_shape(own, weights, name) and own[name].dtype == value.dtype
        }
        first = [f"{name}.weight" for name in first_layers(backbone)]
        adapted = {name: _adapt(found[name], own[name]) for name in first if name in found and name in own}
        channels = max((found[name].shape[1] for name in adapted if found[name].ndim > 1), default=0)
        return cls(expected, found | adapted, counters, first, channels)

    @property
    def fitting(self) -> Weights:
        """The file's tensors that have the name and the shape of one of the network's."""
        names = (name for name in self.expected if same_shape(self.expected, self.found, name))
        return {name: self.found[name] for name in names}

    @property
    def share(self) -> float:
        """The smallest of the shares that `MIN_FIT` limits."""
        fit, expected, found = map(_sizes, (self.fitting, self.expected, self.found))
        return min(part / max(whole) for part, *whole in zip(fit, expected, found, strict=True))

    @property
    def is_complete(self) -> bool:
        """Whether all tensors fit, of the network and of the file."""
        return len(self.fitting) == len(self.expected) == len(self.found)

    @property
    def has_first_layer(self) -> bool:
        """Whether the layers that receive the image fit: all others depend on them."""
        return all(name in self.fitting for name in self.first_layers if name in self.expected)

    def describe(self) -> str:
        """Return how many tensors and parameters fit, in a phrase."""
        fit, expected, found = map(_sizes, (self.fitting, self.expected, self.found))
        return (
            f"{fit[0]:,} tensors ({fit[1]:,} parameters) fit, of {expected[0]:,} ({expected[1]:,}) of the "
            f"network and {found[0]:,} ({found[1]:,}) of the file"
        )

    def first_unfitting(self) -> str:
        """Return the first tensor that does not fit, in a phrase."""
        extra = next((name for name in self.found if name not in self.expected), "")
        for name, value in self.expected.items():
            if name not in self.found:
                other = f" (it has {extra})" if extra else ""
                return f"the first that does not is {name}, which the file lacks{other}"
            if self.found[name].shape != value.shape:
                shapes = ("x".join(map(str, one.shape)) for one in (self.found[name], value))
                return "the first that does not is {}, whose shape is {}, expected {}".format(name, *shapes)
        return f"the first that does not is the file's {extra}, which the network lacks"


def _sizes(weights: Weights) -> tuple[int, int]:
    """Return the number of tensors and of their elements."""
    return len(weights), sum(value.numel() for value in weights.values())


def first_layers(backbone: nn.Module) -> list[str]:
    """Return the names of the layers that receive the image, as far as timm knows them."""
    return _as_list(getattr(backbone, "pretrained_cfg", {}).get("first_conv"))


def last_layers(backbone: nn.Module) -> list[str]:
    """Return the names of a backbone's last layers, also where it was made without them."""
    names = _as_list(getattr(backbone, "pretrained_cfg", {}).get("classifier"))
    last = backbone.get_classifier()
    return names or [name for name, module in backbone.named_modules() if module is last]


def _as_list(names: str | tuple[str, ...] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _adapt(weight: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Return a first layer's weight for the network's channels, R G B Y, where it has 3 or 4 of them."""
    given, wanted = (one.shape[1] if one.ndim == 4 else 0 for one in (weight, expected))
    if (given, wanted) == (3, 4):
        return adapt_input_conv(wanted, weight)
    return weight[:, :wanted] if (given, wanted) == (4, 3) else weight
