"""Sobel edges against scipy's, on flat images and on a step."""

import pytest
import torch
from torch import Tensor, nn
from vit_zoo import pixels

from xai.attr import SobelEdges


class NeverCalled(nn.Module):
    patch_size = 8

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("a control has called the model")


def test_equals_scipys_sobel() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    x = pixels(2, 40, 24)
    expected = []
    for image in x.mean(1).double().numpy():
        down, across = (ndimage.sobel(image, axis, mode="nearest") for axis in (0, 1))
        edges = torch.from_numpy((down**2 + across**2) ** 0.5)
        expected.append(nn.functional.avg_pool2d(edges[None], 8)[0] * 64)
    got = SobelEdges(NeverCalled()).attribute_patches(x)
    torch.testing.assert_close(got, torch.stack(expected).float(), rtol=1e-4, atol=1e-4)


def test_a_flat_image_has_no_edges() -> None:
    got = SobelEdges(NeverCalled()).attribute_patches(torch.full((1, 3, 32, 32), 0.7))
    torch.testing.assert_close(got, torch.zeros(1, 4, 4), rtol=0, atol=1e-4)


def test_a_step_lights_up_the_patches_it_runs_through() -> None:
    """Height 1 between columns 11 and 12: both columns answer with 4 in each of 8 rows."""
    x = torch.zeros(1, 3, 32, 32)
    x[..., 12:] = 1
    got = SobelEdges(NeverCalled()).attribute_patches(x)
    expected = torch.zeros(1, 4, 4)
    expected[:, :, 1] = 2 * 8 * 4
    torch.testing.assert_close(got, expected)
