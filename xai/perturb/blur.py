"""Operators that put a blurred image in the place of what is removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.core import UsageError
from xai.perturb.operator import PixelOperator, register

_TRUNCATE = 4.0  # standard deviations at which a Gaussian filter ends by default, in SciPy


@register
@dataclass(frozen=True)
class Blur(PixelOperator):
    """Gaussian blur of the image, mirrored at its border, as torchvision's `gaussian_blur` defines it.

    A blurred image still holds much of its class, and to a detector of forgeries blur may be a cue itself.

    Args:
        kernel: Side of the kernel in pixels, odd; the Gaussian is sampled at its pixels and scaled to sum 1.
        sigma: Standard deviation in pixels.
    """

    name: ClassVar[str] = "blur"
    kernel: int = 11
    sigma: float = 5.0

    def __post_init__(self) -> None:
        _check("kernel", self.kernel, self.sigma)

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        half = self.kernel // 2
        if half >= min(pixels.shape[2:]):
            raise UsageError(
                f"A blur of {self.kernel} pixels does not fit an image {tuple(pixels.shape[2:])}."
            )
        at = np.arange(-half, half + 1)
        weights = np.exp(-0.5 * (at / self.sigma) ** 2)
        return _filter(F.pad(pixels, (half, half, half, half), mode="reflect"), weights / weights.sum())


@register
@dataclass(frozen=True)
class RiseBlur(PixelOperator):
    """The blur of RISE (Petsiuk et al. 2018, arXiv 1806.07421): insertion starts from it.

    Its kernel is a point of light in a square of `klen` pixels after SciPy's `gaussian_filter`, whose
    Gaussian of ± 4 sigma is reflected at the border of the square: for 11 and 5 it is nearly a box. The
    image is zero-padded, so its border darkens.

    Args:
        klen: Side of the kernel in pixels, odd.
        sigma: Standard deviation of the Gaussian in pixels.
    """

    name: ClassVar[str] = "rise_blur"
    klen: int = 11
    sigma: float = 5.0

    def __post_init__(self) -> None:
        _check("klen", self.klen, self.sigma)

    def prepare(self, classifier: nn.Module, pixels: Tensor, seeds: Sequence[int]) -> Tensor:
        half = self.klen // 2
        return _filter(F.pad(pixels, (half, half, half, half)), reflected_gaussian(self.klen, self.sigma))


def reflected_gaussian(length: int, sigma: float) -> np.ndarray:
    """(length,) a unit impulse in the middle after a Gaussian filter between mirrors (d c b a | a b c d)."""
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    folded = (length // 2 + offsets) % (2 * length)
    folded = np.where(folded < length, folded, 2 * length - 1 - folded)
    return np.bincount(folded, weights / weights.sum(), minlength=length)


def _filter(padded: Tensor, weights: np.ndarray) -> Tensor:
    """Correlate rows and columns of (B, C, H, W) with (k,) weights, without padding."""
    channels = padded.shape[1]
    kernel = torch.as_tensor(weights).to(padded).expand(channels, 1, 1, -1)
    rows = F.conv2d(padded, kernel, groups=channels)
    return F.conv2d(rows, kernel.transpose(2, 3), groups=channels)


def _check(name: str, side: int, sigma: float) -> None:
    if side < 1 or side % 2 == 0:
        raise UsageError(f"{name}={side} must be odd and positive.")
    if not sigma > 0:
        raise UsageError(f"sigma={sigma} must be positive.")
