"""Resizing of images on the device, by the rules of the cache and of the crops in training."""

import torch
from torch.nn.functional import interpolate


def resize(images_BKHW: torch.Tensor, size: int) -> torch.Tensor:
    """Return square images resized to a side of `size` pixels; float32, channels last in memory.

    Enlarged images are interpolated linearly. In reduced ones, each pixel is the mean over the area that it
    covers, as with OpenCV's INTER_AREA: torch's antialiased interpolation would blur them more.
    """
    if size > images_BKHW.shape[-1]:
        return interpolate(images_BKHW, (size, size), mode="bilinear")
    with torch.autocast(images_BKHW.device.type, enabled=False):
        share_SH, share_SW = (_covered(side, size, images_BKHW.device) for side in images_BKHW.shape[-2:])
        resized = share_SH @ images_BKHW @ share_SW.T
    return resized.contiguous(memory_format=torch.channels_last)


def _covered(side: int, size: int, device: torch.device) -> torch.Tensor:
    """Return the share of each of `side` pixels in each of `size`, shape (size, side)."""
    edge, pixel = torch.arange(size + 1, device=device) * (side / size), torch.arange(side, device=device)
    overlap = torch.minimum(edge[1:, None], pixel + 1) - torch.maximum(edge[:-1, None], pixel)
    return overlap.clamp(min=0) * (size / side)
