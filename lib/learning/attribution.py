"""Which pixels a network's output is attributed to: integrated gradients (Sundararajan, Taly, Yan 2017)."""

import numpy as np
import torch
from torchvision.transforms.functional import gaussian_blur

from lib.learning.devices import autocast, resolve_precision
from lib.learning.models import Classifier

STEPS = 8  # from the black image to the image
BLUR = 0.035  # std of the Gaussian that smooths pixels into regions, relative to the image's side


def attributions(
    model: Classifier,
    images_BHWK: np.ndarray,
    features_BF: np.ndarray,
    outputs_B: list[int],
    steps: int = STEPS,
) -> torch.Tensor:
    """Attribute an output's logit to the pixels of each image.

    With x the image and z its output's logit, the attribution of a pixel of a channel is ``x * (mean of dz/dx
    at a x)`` over a from 0, where there is no stain, to 1, the image (Sundararajan et al. 2017, equation 1,
    with a black baseline). All attributions sum to the logit minus that of the black image (their proposition
    1), up to the discretisation.

    Parameters
    ----------
    images_BHWK : ndarray of shape (B, H, W, 4), uint8, R G B Y
    features_BF : ndarray of shape (B, F), float32
        F is 0 for a network without fusion.
    outputs_B : list of int, length B
        Output of the network, for each image.
    steps : int
        Number of points at which the gradient is evaluated.

    Returns
    -------
    tensor of shape (B, H, W, 4), float32
        In logits: positive where the stain is evidence for the output, negative where against it.
    """
    model.eval()
    device = model.mean.device
    precision = resolve_precision(model.spec.precision, device, model, gradients=True)
    image_BHWK = torch.from_numpy(images_BHWK).to(device).float()
    features, rows = torch.from_numpy(features_BF).to(device), torch.arange(len(outputs_B))
    # fixed: a network that standardises each image would undo the factor a
    statistics = model.statistics(image_BHWK)
    total_BHWK = torch.zeros_like(image_BHWK)
    for step in range(steps):
        part_BHWK = (image_BHWK * ((step + 0.5) / steps)).requires_grad_()
        # each image's logit depends only on its own pixels, so the gradient of the sum gives all gradients
        with autocast(precision, device):
            logit = model(part_BHWK, features, statistics)[rows, outputs_B].float().sum()
        total_BHWK += torch.autograd.grad(logit, part_BHWK)[0]
    return image_BHWK * total_BHWK / steps


def heatmaps(
    model: Classifier, images_BHWK: np.ndarray, features_BF: np.ndarray, outputs_B: list[int]
) -> np.ndarray:
    """Return smoothed attribution maps; parameters as of `attributions`.

    Returns
    -------
    ndarray of shape (B, H, W), float32, in [0, 1]
        Attributions summed over channels and blurred by `BLUR`; 1 at the strongest evidence for the output, 0
        where there is none or the evidence is against it.
    """
    summed_BHW = attributions(model, images_BHWK, features_BF, outputs_B).sum(dim=-1)
    std = BLUR * summed_BHW.shape[1]
    heat_BHW = gaussian_blur(summed_BHW, 2 * round(3 * std) + 1, std).relu()
    top_B = heat_BHW.amax(dim=(1, 2), keepdim=True)
    return (heat_BHW / top_B.clamp(min=torch.finfo(torch.float32).tiny)).cpu().numpy()
