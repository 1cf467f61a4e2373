"""Where in an image a network sees a class: integrated gradients (Sundararajan, Taly, Yan 2017)."""

import numpy as np
import torch
from torchvision.transforms.functional import gaussian_blur

from lib.config import Training
from lib.learning.inference import forward
from lib.learning.loader import Batch
from lib.learning.models import Classifier

STEPS = 8  # from the black image to the image
BLUR = 0.035  # of the image's side: deviation of the Gaussian that joins pixels to places


def attributions(
    model: Classifier,
    images_BHWK: np.ndarray,
    features_BF: np.ndarray,
    outputs_B: list[int],
    settings: Training,
    steps: int = STEPS,
) -> torch.Tensor:
    """Deal an output's logit to the pixels of each image.

    With x the image and z its output's logit, a pixel of a channel gets ``x * (mean of dz/dx at a x)`` over a
    from 0, where there is no stain, to 1, the image (Sundararajan et al. 2017, equation 1, with a black
    baseline). What all get together is the logit less that of the black image (their proposition 1), up to
    the coarseness of the steps.

    Parameters
    ----------
    images_BHWK : ndarray of shape (B, H, W, 4), uint8, R G B Y
    features_BF : ndarray of shape (B, F), float32
        F is 0 for a network without fusion.
    outputs_B : list of int, length B
        Which output of the network, for each image.
    steps : int
        At which the gradient is taken.

    Returns
    -------
    tensor of shape (B, H, W, 4), float32
        In logits: positive where the stain speaks for the output, negative where against.
    """
    model.eval()
    device = model.mean.device
    image_BHWK = torch.from_numpy(images_BHWK).to(device).float()
    nothing, rows = torch.empty(0), torch.arange(len(outputs_B))
    total_BHWK = torch.zeros_like(image_BHWK)
    for step in range(steps):
        part_BHWK = (image_BHWK * ((step + 0.5) / steps)).requires_grad_()
        batch = Batch(part_BHWK, torch.from_numpy(features_BF), nothing, rows)
        # every image's logit depends on its own pixels alone: one sum gives all gradients
        logit = forward(model, batch, settings, device)[rows, outputs_B].sum()
        total_BHWK += torch.autograd.grad(logit, part_BHWK)[0]
    return image_BHWK * total_BHWK / steps


def heat(
    model: Classifier,
    images_BHWK: np.ndarray,
    features_BF: np.ndarray,
    outputs_B: list[int],
    settings: Training,
) -> np.ndarray:
    """Return where in each image the network sees the output's class; arguments as for `attributions`.

    Returns
    -------
    ndarray of shape (B, H, W), float32, in [0, 1]
        Attributions of all channels together, blurred by `BLUR`; 1 where most speaks for the output, 0 where
        nothing does or more speaks against it.
    """
    found_BHW = attributions(model, images_BHWK, features_BF, outputs_B, settings).sum(dim=-1)
    deviation = BLUR * found_BHW.shape[1]
    heat_BHW = gaussian_blur(found_BHW, 2 * round(3 * deviation) + 1, deviation).relu()
    top_B = heat_BHW.amax(dim=(1, 2), keepdim=True)
    return (heat_BHW / top_B.clamp(min=torch.finfo(torch.float32).tiny)).cpu().numpy()
