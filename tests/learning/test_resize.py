import cv2
import numpy as np
import pytest
import torch

from lib.learning.resize import resize
from tests.learning.tiny import images


@pytest.mark.parametrize(
    ("side", "size", "method"),
    [
        (48, 32, cv2.INTER_AREA),
        (37, 32, cv2.INTER_AREA),
        (96, 32, cv2.INTER_AREA),
        (20, 32, cv2.INTER_LINEAR),
    ],
)
def test_images_are_resized_as_by_opencv(side, size, method):
    images_BHWK = images(size=side)
    expected_BHWK = np.stack(
        [cv2.resize(one.astype(np.float32), (size, size), interpolation=method) for one in images_BHWK]
    )
    given_BKHW = torch.from_numpy(images_BHWK).permute(0, 3, 1, 2).float(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):  # whose precision would not do
        resized = resize(given_BKHW, size)
    assert resized.dtype == torch.float32 and resized.is_contiguous(memory_format=torch.channels_last)
    assert resized.permute(0, 2, 3, 1).numpy() == pytest.approx(expected_BHWK, abs=1e-2)
