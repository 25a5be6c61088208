"""Edits of a piece of a photograph: what it shows stays where it is, its traces change.

Each edit takes a piece of shape (H, W, 3), intensities 0 to 255, and returns **all** of it edited, in the
same shape and not clipped. All but `seam` are meant for the inside of a region, and take a strength: the
ranges that they name are those of strength 1, and are multiplied by it.
"""

from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatImage = NDArray[np.float32]
"""Colour image of shape (H, W, 3), intensities on the scale 0 to 255 and not clipped to it."""


def upsampling(image: FloatImage, rng: np.random.Generator, strength: float = 1.0) -> FloatImage:
    """Redraw the image as the upsampling layers of an image generator would.

    The image is reduced by 2 or 4 and brought back in steps of 2, each by inserting zeros and filtering with
    a short kernel. Its mean differs between its phases, as a learned one's does; this leaves a faint grid
    and replicas of the spectrum. Part of the lost detail is put back, lest the region look blurred.
    """
    height, width = image.shape[:2]
    steps = 1 if rng.random() < 0.7 else 2
    factor = 2**steps
    top, left = (int(shift) for shift in rng.integers(0, factor, 2))
    bottom, right = -(height + top) % factor, -(width + left) % factor
    padded = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // factor, padded.shape[1] // factor
    small: FloatImage = padded.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))
    for _ in range(steps):
        for axis in (0, 1):
            small = _double(small, axis, strength * rng.uniform(0.01, 0.03) * rng.choice((-1, 1)))
    kept = rng.uniform(0.2, 0.5) / strength
    redrawn = small[top : top + height, left : left + width]
    return (redrawn + kept * (image - _smooth(image, 1.0))).astype(np.float32)


def resampling(image: FloatImage, rng: np.random.Generator, strength: float = 1.0) -> FloatImage:
    """Enlarge and turn the image slightly about a random point, as a pasted and fitted object would be."""
    height, width = image.shape[:2]
    scale, turn = 1 / (1 + strength * rng.uniform(0.1, 0.5)), strength * rng.uniform(-0.2, 0.2)
    pad = min(height, width) // 2
    x, y = rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.75) * height
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    matrix = (cos, -sin, pad + x - cos * x + sin * y, sin, cos, pad + y - sin * x - cos * y)
    method = Image.Resampling.BILINEAR if rng.random() < 0.5 else Image.Resampling.BICUBIC
    padded = np.pad(image.astype(np.uint8), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    warped = Image.fromarray(padded).transform((width, height), Image.Transform.AFFINE, matrix, method)
    return np.asarray(warped, np.float32)


def noise(image: FloatImage, rng: np.random.Generator, strength: float = 1.0) -> FloatImage:
    """Give the image another camera's grain: its own is smoothed, new grain (5 to 12 levels) is added."""
    grain = rng.normal(0, strength * rng.uniform(5, 12), image.shape).astype(np.float32)
    shared = np.float32(rng.uniform(0, 1))  # how far the three colours share one grain
    common = np.float32(np.sqrt(3)) * grain.mean(axis=2, keepdims=True)
    return _smooth(image, strength * rng.uniform(0.4, 0.8)) + shared * common + (1 - shared) * grain


def color(image: FloatImage, rng: np.random.Generator, strength: float = 1.0) -> FloatImage:
    """Develop the image with another white balance, contrast and saturation."""
    balance = np.exp(strength * rng.normal(0, 0.14, 3)).astype(np.float32)
    grey = image.mean(axis=2, keepdims=True)
    saturation = np.float32(np.exp(strength * rng.uniform(0.25, 0.6) * rng.choice((-1, 1))))
    contrast = np.float32(np.exp(strength * rng.uniform(-0.25, 0.25)))
    return (128 + contrast * (grey - 128) + saturation * (image - grey)) * balance


def blur(image: FloatImage, rng: np.random.Generator, strength: float = 1.0) -> FloatImage:
    """Blur with a Gaussian of 1 to 2.5 pixels, as one does who hides something or evens out a retouch."""
    return _smooth(image, strength * rng.uniform(1, 2.5), reach=8)


def seam(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Lift the image out by a fraction of a pixel and put it back: the same content less its finest detail.

    Linear interpolation by t of a pixel along each axis, then by −t, t from 0.3 to 0.5. In one: the kernel
    (k, 1 − 2k, k) with k = t·(1 − t), which mixes neighbours as a feathered outline does. Meant for a rim.
    """
    for axis in (0, 1):
        t = rng.uniform(0.3, 0.5)
        padded = np.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        before, after = (padded.take(range(i, i + image.shape[axis]), axis) for i in (0, 2))
        image = (image + t * (1 - t) * (before + after - 2 * image)).astype(np.float32)
    return image


def _double(image: FloatImage, axis: int, gain: float) -> FloatImage:
    """Double one axis: zeros inserted, then the kernel ((1 - gain) / 2, 1 + gain, (1 - gain) / 2)."""
    following = image.take([*range(1, image.shape[axis]), image.shape[axis] - 1], axis)
    pairs = np.stack([(1 + gain) * image, (1 - gain) / 2 * (image + following)], axis=axis + 1)
    return pairs.reshape([2 * n if a == axis else n for a, n in enumerate(image.shape)]).astype(np.float32)


def _smooth(image: FloatImage, sigma: float, reach: int = 3) -> FloatImage:
    """Blur with a Gaussian of `reach` taps a side or more, the border repeated; sigma in pixels."""
    reach = max(reach, ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    taps /= taps.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
        shifted = [padded.take(range(i, i + image.shape[axis]), axis) for i in range(len(taps))]
        image = np.tensordot(taps, np.stack(shifted), axes=1)
    return image
