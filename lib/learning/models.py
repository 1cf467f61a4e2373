"""Networks: a timm backbone that normalises its own input, with or without features, and its checkpoint.

A network's folder holds ``model.json``, which describes it (`network_spec`), and ``weights.safetensors``.
Together they are enough to use it: ``load(folder)`` needs neither the run, nor the split, nor the training
samples.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import nn

from lib import files
from lib.errors import UserError
from lib.evaluation import predictions
from lib.labels import CLASSES
from lib.learning import backbones, pooled_heads
from lib.learning.devices import in_float32
from lib.learning.fusion import FeatureScaler, Fusion
from lib.learning.heads import GroupHeads
from lib.learning.network_spec import NetworkSpec
from lib.learning.pooled_heads import PooledHead
from lib.learning.resize import resize
from lib.sections import Network

LEAST_STD = 1.0  # grey levels: an empty channel stays empty


class Classifier(nn.Module):
    """Maps raw uint8 images, and biological features where it takes any, to logits.

    Normalisation is the network's first step: batches travel as uint8, a quarter of the bytes, and a
    checkpoint cannot be used with the wrong statistics.

    Parameters
    ----------
    spec : NetworkSpec
    backbone : nn.Module
        Takes (B, K, H, W) float, returns logits (B, O), or the representation (B, R), pooled or its own
        logits, where the last layer is not its own.
    """

    def __init__(self, spec: NetworkSpec, backbone: nn.Module) -> None:
        super().__init__()
        self.spec, self.backbone = spec, backbone
        self.fusion: Fusion | None = None
        self.heads: GroupHeads | None = None
        width, seen = backbones.representation_width(backbone), len(spec.channels)
        self.starts_complete = False  # whether nothing of it is random before training
        self.head: PooledHead | None = None
        if spec.has_pooled_head:
            backbones.freeze_unused_head(backbone)
            widths = pooled_heads.map_widths(backbone, spec.head)
            outputs = len(_own_outputs(spec))
            self.head = PooledHead(spec.head, spec.pooling, widths, outputs, spec.dropout)
            width = self.head.num_features
        if spec.features:
            outputs = len(spec.outputs) if spec.heads is None else spec.fusion_width
            scaler = FeatureScaler(len(spec.features), spec.feature_scaling)
            width = len(_own_outputs(spec)) or width
            layer = {"pooled": spec.fusion_width, "logits": spec.fusion_width, "linear": 0}[spec.fusion]
            self.fusion = Fusion(width, scaler, outputs, layer, spec.dropout)
            width = outputs
        if spec.heads is not None:
            self.heads = GroupHeads(width, spec.heads, spec.fusion_width, spec.dropout)
        self.register_buffer("mean", torch.zeros(1, seen, 1, 1))
        self.register_buffer("std", torch.ones(1, seen, 1, 1))
        in_float32(self.last_layer)

    def set_statistics(self, mean: list[float], std: list[float]) -> None:
        """Set what images are normalised with: 4 values each in grey levels 0-255, R G B Y."""
        seen = len(self.spec.channels)
        self.mean.copy_(torch.tensor(mean[:seen]).view(1, -1, 1, 1))
        self.std.copy_(torch.tensor(std[:seen]).clamp(min=LEAST_STD).view(1, -1, 1, 1))

    def forward(
        self,
        images_BHWK: torch.Tensor,
        features_BF: torch.Tensor,
        statistics: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return logits, shape (B, O), of images_BHWK, uint8, R G B Y, and features_BF, float32.

        In evaluation, images of another side than ``spec.size`` are resized. `statistics` replace those that
        the images are normalised with.
        """
        images_BKHW = self._input(images_BHWK)
        mean, std = self._statistics(images_BKHW) if statistics is None else statistics
        output = self._represent((images_BKHW - mean) / std)
        output = output if self.fusion is None else self.fusion(output, features_BF)
        return output if self.heads is None else self.heads(output)

    def _input(self, images_BHWK: torch.Tensor) -> torch.Tensor:
        # viewed as channels first, the bytes stay where they are: torch's channels_last layout
        images_BKHW = images_BHWK.permute(0, 3, 1, 2)[:, : self.mean.shape[1]]
        images_BKHW = images_BKHW.float(memory_format=torch.channels_last)
        fits = self.training or images_BKHW.shape[-1] == self.spec.size
        return images_BKHW if fits else resize(images_BKHW, self.spec.size)

    def _statistics(self, images_BKHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.spec.normalisation != "image":
            return self.mean, self.std
        std, mean = torch.std_mean(images_BKHW, dim=(2, 3), keepdim=True)
        return mean, std.clamp(min=LEAST_STD)

    def statistics(self, images_BHWK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean and std, shape (1 or B, K, 1, 1), that images are normalised with."""
        return self._statistics(self._input(images_BHWK))

    def _represent(self, images_BKHW: torch.Tensor) -> torch.Tensor:
        """Return logits, or the representation where the last layer is that of a fusion or of heads."""
        if self.head is None:
            return self.backbone(images_BKHW)
        return self.head(pooled_heads.maps(self.backbone, images_BKHW, self.spec.head))

    @property
    def last_layer(self) -> nn.Module:
        """The layer, or heads, that produce the logits."""
        if self.heads is not None:
            return self.heads
        if self.fusion is not None:
            return self.fusion.layers[-1]
        return self.backbone.get_classifier() if self.head is None else self.head.last


def build(
    spec: NetworkSpec,
    settings: Network,
    mean: list[float],
    std: list[float],
    features: pd.DataFrame | None = None,
) -> Classifier:
    """Build an untrained network, with pretrained weights where the settings ask for them.

    Parameters
    ----------
    mean, std : list of 4 float
        Of the training rows, in grey levels 0-255, R G B Y; only used with standard normalisation.
    features : DataFrame or None
        Features of the training rows, which the fusion's scaling is fitted to; needed if `spec.features`.

    Raises
    ------
    UserError
        If timm has no such architecture, or the pretrained weights are unavailable.
    """
    backbone, origin = backbones.create_pretrained(settings, *_backbone_outputs(spec))
    model = Classifier(replace(spec, initial_weights=origin.source), backbone)
    model.starts_complete = origin.copy_head(model.head, spec)
    if model.fusion is not None:
        model.fusion.scaler.fit(features, settings.feature_weights, settings.feature_factor)
    unit = [0.0] * len(mean), [255.0] * len(std)
    statistics = {"standard": (mean, std), "image": unit, "unit": unit}
    if settings.normalisation == "start":
        statistics["start"] = origin.statistics(len(spec.channels))
    model.set_statistics(*statistics[settings.normalisation])
    return model.to(memory_format=torch.channels_last)


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a state dict as safetensors, completely or not at all.

    A value that is not finite is written as 0: in a network whose loss is finite it has no effect. Where a
    kernel covers the whole of a tiny image, torch's bfloat16 convolutions on CPUs leave the gradients of
    weights that only meet padding undefined.
    """
    written = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    if not is_finite(written):
        written = {name: tensor.nan_to_num(0, 0, 0) for name, tensor in written.items()}
    with files.write_atomic(path) as part:
        part.write_bytes(save(written))  # `save_file` hides the system's error, for example of a full disk


def load_weights(path: Path, script: str = "02_train_cnn.py") -> dict[str, torch.Tensor]:
    """Read a state dict, on the CPU; a `UserError` if it is missing or damaged, or a value is not finite.

    Parameters
    ----------
    script : str
        The script that trains the network.
    """
    with files.reading(path, script):
        weights = load_file(path)
        if not is_finite(weights):
            raise ValueError("a weight is not finite")
    return weights


def is_finite(weights: dict[str, torch.Tensor]) -> bool:
    """Return whether no value of a state dict is nan or infinite."""
    return all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point())


def load(folder: Path) -> Classifier:
    """Load a trained network from its folder alone.

    Parameters
    ----------
    folder : Path
        Holds ``model.json`` and ``weights.safetensors``, for example ``outputs/demo/networks/baseline``.

    Returns
    -------
    Classifier
        On the CPU, in evaluation mode. Takes images_BHWK, uint8, R G B Y, and features_BF, float32, in the
        order of ``spec.features`` (F is 0 for a network without features); returns logits, shape (B, O), for
        ``spec.outputs``.

    Raises
    ------
    UserError
        If a file is missing or damaged, or the weights do not fit the description.
    """
    spec, script = NetworkSpec.read(folder), predictions.creator(folder)
    weights = load_weights(folder / "weights.safetensors", script)
    with files.reading(folder / "model.json", script):
        try:
            outputs, dropout = _backbone_outputs(spec)
            backbone = backbones.create(
                spec.architecture, len(spec.channels), len(outputs), dropout, stem_pool=spec.stem_pool
            )
            model = Classifier(spec, backbone)
        except UserError as error:  # it names the setting
            raise ValueError(str(error)) from None
        difference = find_difference(model.state_dict(), weights)
        if difference:
            raise ValueError(f"the weights do not fit it: {difference}")
    model.load_state_dict(weights)
    return model.to(memory_format=torch.channels_last).eval()


def find_difference(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> str:
    """Describe the first difference in names, shapes or types of two state dicts; empty if there is none."""
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if (name in ours) != (name in theirs):
            return f"only one of them has {name}"
        first, second = ours[name], theirs[name]
        if first.shape != second.shape or first.dtype != second.dtype:
            sizes = (
                f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" for value in (first, second)
            )
            return f"{name} is {', not '.join(sizes)}"
    return ""


def start_from(model: Classifier, folder: Path) -> None:
    """Copy another network's weights, except those of the last layer: Hoogenboom 2019, section 2.3.

    Parameters
    ----------
    folder : Path
        Of the other network, which must have the same architecture.
    """
    (last,) = (name for name, module in model.named_modules() if module is model.last_layer)
    ours, theirs = (
        {name: value for name, value in weights.items() if not name.startswith(f"{last}.")}
        for weights in (
            model.state_dict(),
            load_weights(folder / "weights.safetensors", predictions.creator(folder)),
        )
    )
    difference = find_difference(ours, theirs)
    if difference:
        raise UserError(
            f"{folder.name} differs from the network that starts from it ({difference}): give both the same "
            f"network settings, or --set hierarchy.transfer=false"
        )
    model.load_state_dict(theirs, strict=False)


def _backbone_outputs(spec: NetworkSpec) -> tuple[list[str], float]:
    """Return the outputs of the backbone's last layer, none where it has none, and the dropout before it."""
    if spec.has_pooled_head:
        return [], 0.0
    return _own_outputs(spec), spec.dropout if spec.has_own_last_layer else 0.0


def _own_outputs(spec: NetworkSpec) -> list[str]:
    """Return what backbone and head predict before a fusion or heads of groups; none: a representation.

    A fusion with logits takes those of Kaggle's classes, whatever the network's outputs: Liu et al. 2018,
    section 5.2. Networks of different outputs can start from each other.
    """
    if spec.has_own_last_layer:
        return spec.outputs
    return list(CLASSES) if spec.features and spec.fusion == "logits" else []


def count_parameters(model: nn.Module) -> int:
    """Return the number of learnt parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
