"""What a network consists of, as boxes to draw: found by passing a blank sample through it."""

from collections.abc import Iterator

import torch
from timm.layers import SelectAdaptivePool2d
from torch import nn

from lib.figures.network import Block, Outline
from lib.learning.fusion import FeatureScaler
from lib.learning.models import Classifier, count_parameters

ATTACHED = (nn.BatchNorm2d, nn.LayerNorm, nn.ReLU, nn.SiLU, nn.GELU)  # drawn with the layer before them
LISTED = 10  # weights of features that a box has room for
SCALED = {"minmax": "scaled to [0, 1]", "standard": "standardised"}


def outline(model: Classifier) -> Outline:
    """Return the blocks of a network, in the order in which a sample passes through them.

    Parameters
    ----------
    model : Classifier
        On the CPU, in evaluation mode.
    """
    spec, visited = model.spec, []
    hooks = [
        module.register_forward_hook(
            lambda module, _given, output, name=name: visited.append((name, module, output))
        )
        for name, module in _modules(model)
    ]
    blank_BHWK = torch.zeros(1, spec.size, spec.size, 4, dtype=torch.uint8)
    with torch.inference_mode():
        logits_BO = model(blank_BHWK, torch.zeros(1, len(spec.features)))
    for hook in hooks:
        hook.remove()
    channels = len(spec.channels)
    image = [Block(f"{' '.join(spec.channels)}, normalised", f"{spec.size} x {spec.size} x {channels}")]
    features, output = [], []
    of_image = set(model.backbone.children())
    for name, module, result in visited:
        if isinstance(module, FeatureScaler):
            count = len(spec.features)
            features = [Block("biological features", f"{count}"), Block(_describe(name, module), f"{count}")]
            output.append(Block("concatenation", f"{model.fusion.concatenated}"))
            continue
        branch = image if module in of_image else output
        before_last = f"dropout {spec.dropout:g}, in training"
        if module is model.last_layer and branch is image and spec.dropout:  # in some networks no module
            image += [Block(before_last, image[-1].shape)] * (image[-1].operation != before_last)
        block = Block(_describe(name, module), _shape(result), count_parameters(module))
        if isinstance(module, ATTACHED):
            before = branch.pop()
            operation = f"{before.operation}, {block.operation}"
            block = Block(operation, block.shape, before.parameters + block.parameters)
        branch.append(block)
    return Outline(image, features, [*output, Block(f"{spec.activation}: probabilities", _shape(logits_BO))])


def _modules(model: Classifier) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that become blocks: those of the backbone and of the fusion, and any further ones."""
    opened = {model, model.backbone, model.fusion, getattr(model.fusion, "layers", None)}
    for module in model.modules():
        for name, child in module.named_children() if module in opened else ():
            changes_nothing = isinstance(child, nn.Identity) or getattr(child, "p", 1) == 0  # dropout 0
            if child not in opened and not changes_nothing:
                yield name, child


def _describe(name: str, module: nn.Module) -> str:
    """Return in a few words what a module does; `name` is its own in the network."""
    match module:
        case nn.Conv2d():
            return f"convolution {' x '.join(map(str, module.kernel_size))}, stride {module.stride[0]}"
        case module if isinstance(module, ATTACHED):
            return "batch normalisation" if type(module) is nn.BatchNorm2d else type(module).__name__
        case nn.MaxPool2d():
            return f"maximum over {module.kernel_size} x {module.kernel_size}, stride {module.stride}"
        case SelectAdaptivePool2d():
            return f"global pooling ({module.pool_type})"
        case nn.Linear():
            return "fully connected layer"
        case nn.Dropout():
            return f"dropout {module.p:g}, in training"
        case FeatureScaler():
            weights = [f"{weight:g}" for weight in module.weight.tolist()]
            ends = f"weights from {module.weight.min():g} to {module.weight.max():g}"
            listed = " ".join(weights) if len(weights) <= LISTED else ends
            return f"{SCALED[module.scaling]}, times {listed}"
        case nn.Sequential() if len({type(child) for child in module}) == 1:
            return f"{name}: {len(module)} x {type(module[0]).__name__}"
    return f"{name}: {type(module).__name__}"


def _shape(result: torch.Tensor) -> str:
    """Return the shape of one sample's result: height, width and channels, or a number of values."""
    _, *shape = result.shape
    return " x ".join(map(str, [*shape[1:], shape[0]] if len(shape) == 3 else shape))
