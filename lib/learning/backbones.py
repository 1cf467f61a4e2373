"""timm's networks: their names with and without tags, and the weights that they start from."""

import difflib
import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import timm
import torch
from safetensors import SafetensorError
from timm.layers import DropPath
from torch import nn

from lib.config import Network
from lib.console import info, warn
from lib.errors import UserError
from lib.learning import initial_weights

PERMISSIVE_LICENSES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")
# the words that names of other non-commercial licences contain
NON_COMMERCIAL = ("-nc", "noncommercial", "seer-license", "apple-amlr")


def create(
    architecture: str,
    channels: int,
    outputs: int,
    dropout: float,
    pretrained: bool = False,
    drop_path: float = 0.0,
) -> nn.Module:
    """Return timm's network.

    Parameters
    ----------
    architecture : str
        A name such as ``resnet34``, or with a tag, which names pretrained weights: ``resnet34.tv_in1k``.
    outputs : int
        Of its last layer; 0: without a last layer.
    dropout : float
        Before the last layer.
    pretrained : bool
        With the weights from the hub, or from the cache of an earlier download; otherwise random ones.
    drop_path : float
        Stochastic depth, as the setting ``network.drop_path``.

    Raises
    ------
    UserError
        If timm has no such network or no such weights of it; the message lists similar ones. If it has no
        blocks that can be skipped.
    """
    _check_name(architecture)
    options = dict(in_chans=channels, num_classes=outputs, drop_rate=dropout, pretrained=pretrained)
    if drop_path:
        _check_drop_path(architecture, drop_path)
        options["drop_path_rate"] = drop_path
    with _logged_by_timm() as lines:
        backbone = timm.create_model(architecture, **options)
    for line in lines if pretrained else ():
        warn(f"{architecture}: {line}")
    return backbone


def create_pretrained(
    settings: Network, outputs: list[str], dropout: float
) -> tuple[nn.Module, dict[str, str]]:
    """Return timm's network with the initial weights that the settings ask for, and where they come from.

    Parameters
    ----------
    outputs : list of str
        Names of the outputs of its last layer; empty: without a last layer.
    dropout : float
        Before the last layer.

    Returns
    -------
    backbone : nn.Module
    initial_weights : dict of str
        source and license.

    Raises
    ------
    UserError
        If timm has no such network, or its pretrained weights are unavailable or do not fit.
    """
    architecture, channels = settings.architecture, len(settings.channels)
    from_hub = settings.pretrained and not settings.weights_file
    initialise = _download if from_hub else create
    backbone = initialise(architecture, channels, len(outputs), dropout, drop_path=settings.drop_path)
    source, given = {"source": "random initialisation", "license": ""}, 0
    if from_hub:
        source, given = _hub_weights(backbone), 3
    elif settings.pretrained:
        path, given, license = initial_weights.load(backbone, architecture, outputs, settings.weights_file)
        source = {"source": str(path), "license": license}
    if source["license"] and (from_hub or source["license"] != "unknown"):
        _announce(architecture, **source)
    if channels == 4 and given < 4:
        _initialise_yellow(backbone, settings)
    return backbone, source


def _check_name(architecture: str) -> None:
    """Raise a `UserError` with similar names unless timm has the network, and the weights of the tag."""
    name, dot, tag = architecture.partition(".")
    if timm.is_model(architecture):
        known = [one.partition(".")[2] for one in timm.list_models(f"{name}.*", include_tags=True)]
        if not dot or tag in known:
            return
        weights = f"with the tags {' '.join(known)}" if any(known) else "without tags"
        raise UserError(f"network.architecture={architecture}: timm has {name} {weights}, not {tag!r}")
    # as the hub writes it: hf-hub:timm/resnet34.tv_in1k
    plain = architecture.lower().rpartition("/")[2].rpartition(":")[2]
    close = difflib.get_close_matches(plain, timm.list_models(include_tags="." in plain), n=3)
    hint = f"; similar: {' '.join(close)}" if close else "; see timm.list_models()"
    raise UserError(f"network.architecture={architecture} is unknown to timm{hint}")


def _check_drop_path(architecture: str, drop_path: float) -> None:
    """Raise a `UserError` unless blocks of the network can be skipped."""
    try:
        with torch.device("meta"), _logged_by_timm():  # without weights
            modules = timm.create_model(architecture, pretrained=False, drop_path_rate=drop_path).modules()
        found = any(isinstance(module, DropPath) for module in modules)
    except TypeError:  # timm passes what it does not know on to the network's class
        found = False
    if not found:
        raise UserError(
            f"network.drop_path={drop_path}: {architecture} has no residual blocks that can be skipped; set "
            f"network.drop_path=0, or choose a network that has, such as resnet34 or convnext_tiny"
        )


def _download(architecture: str, channels: int, outputs: int, dropout: float, drop_path: float) -> nn.Module:
    """Return timm's network with weights from the hub; a `UserError` if they are unavailable."""
    try:
        return create(architecture, channels, outputs, dropout, pretrained=True, drop_path=drop_path)
    except OSError as error:
        raise UserError(
            f"the pretrained weights of {architecture} are unavailable "
            f"({error.strerror or type(error).__name__}): connect to the network once, name a file with "
            f"--set network.weights_file=FILE, or train from scratch with --set network.pretrained=false"
        ) from None
    except (RuntimeError, ValueError, SafetensorError) as error:
        tags = timm.list_pretrained(f"{architecture.partition('.')[0]}.*")[:5]
        raise UserError(
            f"the pretrained weights of {architecture} cannot be loaded ({str(error).splitlines()[0]}): "
            f"--set network.pretrained=false trains from scratch{'; timm has ' * bool(tags)}{' '.join(tags)}"
        ) from None


@contextmanager
def _logged_by_timm() -> Iterator[list[str]]:
    """Collect timm's warnings instead of printing them, and hide the hub client's about its retries."""
    timm_logger, hub_logger = logging.getLogger("timm"), logging.getLogger("huggingface_hub")
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    propagates, level = timm_logger.propagate, hub_logger.level
    timm_logger.propagate = False
    timm_logger.addHandler(handler)
    hub_logger.setLevel(logging.ERROR)
    try:
        yield lines
    finally:
        timm_logger.removeHandler(handler)
        timm_logger.propagate = propagates
        hub_logger.setLevel(level)


def _hub_weights(backbone: nn.Module) -> dict[str, str]:
    config = backbone.pretrained_cfg
    source = config.get("hf_hub_id") or config.get("url") or ""
    return {"source": source, "license": config.get("license") or "unknown"}


@functools.cache  # once per run, not for every fold
def _announce(architecture: str, source: str, license: str) -> None:
    """Print the source and licence of downloaded weights, as a warning unless it is permissive."""
    text = f"{architecture}: pretrained weights {source}, licence {license}"
    if license in PERMISSIVE_LICENSES:
        info(f"  {text}")
    elif any(word in license for word in NON_COMMERCIAL):
        warn(f"{text}: for non-commercial use only, which also binds what is trained from them")
    else:
        warn(f"{text}: read its terms before you use or publish what is trained from them")


def _initialise_yellow(backbone: nn.Module, settings: Network) -> None:
    """Set yellow's weights in the first layer to zero or to blue's: Liu et al. 2018, section 6.2.1.

    ``network.fourth_channel=timm`` keeps timm's: the first of the three channels' weights again.
    """
    if settings.fourth_channel == "timm":
        return
    names = initial_weights.first_layers(backbone)
    if not names:
        raise UserError(
            f"network.fourth_channel={settings.fourth_channel}: timm does not name the first layer of "
            f"{settings.architecture}; use network.fourth_channel=timm"
        )
    for name in names:
        with torch.no_grad():
            weight = backbone.get_submodule(name).weight
            if settings.pretrained:
                weight *= len(settings.channels) / 3  # timm scales three channels' weights down for four
            yellow = {"zero": torch.zeros_like(weight[:, 2]), "copy": weight[:, 2]}
            weight[:, 3] = yellow[settings.fourth_channel]
