"""The description of a network, ``model.json``. Does not load torch."""

import dataclasses
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lib import files
from lib.errors import UserError
from lib.evaluation import predictions
from lib.labels import CLASSES
from lib.sections import Network, Training
from lib.settings import check_value

ACTIVATION_NAMES = ("sigmoid", "softmax")  # implemented in `lib.learning.losses`, which loads torch
# attributes that obey the bounds and choices of the setting of the same name
LIKE_SETTINGS = (
    "channels",
    "head",
    "pooling",
    "stem_pool",
    "size",
    "array_size",
    "normalisation",
    "precision",
    "tta_crops",
    "tta_combine",
    "dropout",
    "feature_scaling",
    "fusion",
    "fusion_width",
)


@dataclass(frozen=True)
class NetworkSpec:
    """Everything needed to rebuild a network around its weights: the content of ``model.json``.

    Attributes
    ----------
    architecture : str
        A timm model by name.
    channels : str
        RGBY or RGB: the channels it receives, of images in R G B Y order.
    size : int
        Side of its input, in pixels; in evaluation, it resizes others itself.
    array_size : int
        Side of the arrays that it was trained on, in pixels; 0: as `size`.
    normalisation : str
        How its mean and standard deviation, which lie with the weights, were chosen.
    outputs : list of str
        Name of each output.
    classes : list of int or None
        The class numbers of its first outputs; None where they are not classes.
    activation : str
        Turns logits into probabilities: sigmoid or softmax.
    precision : str
        As the setting ``training.precision``.
    tta_crops, tta_side : int
        Test-time augmentation: the number of crops, and their side in pixels of the array; 0: the whole
        image.
    tta_combine : str
        As the setting ``training.tta_combine``.
    dropout : float
        As the setting ``network.dropout``.
    head, pooling, stem_pool : str, str, bool
        As the settings of these names in the section ``network``.
    features : list of str
        Biological features that it takes, in order.
    feature_scaling : str
        As the setting ``network.feature_scaling``.
    fusion : str
        As the setting ``network.fusion``.
    fusion_width : int
        As the setting ``network.fusion_width``.
    heads : list of list of int, or None
        As `lib.learning.heads.GroupHeads` takes them.
    initial_weights : dict of str
        source and license of the weights that training started from; of a file also its size in bytes and
        its sha256; trained_on, where they were trained on samples that the scores are measured on.
    """

    architecture: str
    channels: str
    size: int
    normalisation: str
    outputs: list[str]
    classes: list[int] | None
    activation: str = "sigmoid"
    array_size: int = 0
    precision: str = "auto"
    tta_crops: int = 0
    tta_side: int = 0
    tta_combine: str = "mean"
    dropout: float = 0.0
    head: str = "linear"
    pooling: str = "own"
    stem_pool: bool = False
    features: list[str] = field(default_factory=list)
    feature_scaling: str = "minmax"
    fusion: str = "pooled"
    fusion_width: int = 256
    heads: list[list[int]] | None = None
    initial_weights: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in (*dataclasses.fields(Network), *dataclasses.fields(Training)):
            if item.name in LIKE_SETTINGS:
                check_value(item.name, getattr(self, item.name), item)
        if self.tta_crops and not 0 < self.tta_side <= self.array_side:
            raise UserError(f"tta_side {self.tta_side}: expected 1 to {self.array_side}")
        if self.activation not in ACTIVATION_NAMES:
            raise UserError(f"activation {self.activation!r}: expected one of {' '.join(ACTIVATION_NAMES)}")
        if not self.outputs:
            raise UserError("outputs is empty: expected at least one")
        if self.classes is not None and (
            not self.classes
            or len(self.classes) > len(self.outputs)
            or len(set(self.classes) & set(range(len(CLASSES)))) < len(self.classes)
        ):
            raise UserError(f"classes {self.classes}: expected class numbers 0-27 of the first outputs")
        if len(set(self.features)) < len(self.features):
            raise UserError(f"features {self.features}: expected each once")
        if self.heads is not None:
            labels = sorted(label for head in self.heads for label in head)
            if labels != list(range(len(self.outputs) - len(self.heads))) or not all(self.heads):
                raise UserError(f"heads {self.heads}: expected each output of a class in one")

    @property
    def array_side(self) -> int:
        """Side of the arrays that it was trained on, in pixels."""
        return self.array_size or self.size

    @property
    def has_own_last_layer(self) -> bool:
        """Whether the last layer is the backbone's, as opposed to that of a fusion or of heads."""
        return not self.features and self.heads is None

    @property
    def has_pooled_head(self) -> bool:
        """Whether what follows the backbone's maps is ours, as opposed to timm's pooling and last layer."""
        return self.head != "linear" or self.pooling != "own"

    def write(self, folder: Path) -> None:
        """Write ``model.json`` into a network's folder."""
        files.write_json(folder / "model.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "NetworkSpec":
        """Read ``model.json``; a `UserError` if it is missing or damaged."""
        return files.read_json(folder / "model.json", predictions.creator(folder), cls)
