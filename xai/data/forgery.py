"""Seeded local forgeries of photographs inside a known mask.

`forge` edits a photograph inside a random (or a given) region and hands back the edited photograph with that
region, which is the ground truth for judging whether an explanation points at the edit. The edit of each
*kind* is a small function in `KINDS`, which edits **all** of the piece that it is given; `forge` cuts out the
piece around the mask and blends it back. The same image and state of the generator give the same forgery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

FloatImage = NDArray[np.float32]
"""Colour image of shape (H, W, 3), intensities on the scale 0 to 255 and not clipped to it."""
MIN_AREA = 0.02
"""Smallest share of the image that a random mask covers."""
MAX_AREA = 0.30
"""Largest share of the image that a random mask covers."""
MARGIN = 16
"""Pixels around the mask that an edit gets to see."""
_ANGLES = np.linspace(0, 2 * np.pi, 64, endpoint=False)


@dataclass(frozen=True)
class Forgery:
    """A forged photograph and where it was forged.

    Attributes:
        image: the forged photograph, uint8 of shape (H, W, 3).
        mask: bool of shape (H, W), true where the edit has at least half of its weight.
        kind: name of the edit, a key of `KINDS`.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    kind: str


def forge(
    image: NDArray[np.uint8],
    rng: np.random.Generator,
    kind: str,
    alpha: NDArray[np.float32] | None = None,
) -> Forgery:
    """Forge a photograph inside a mask.

    Args:
        image: the photograph, uint8 of shape (H, W, 3), at least 16 pixels on each side.
        rng: source of every random choice; its state moves on.
        kind: name of the edit, a key of `KINDS`.
        alpha: weight of the edit at each pixel, float32 of shape (H, W) in [0, 1], for an edit at a chosen
            place; drawn by `random_alpha` when left out.

    Returns:
        The forged photograph, its mask and its kind.

    Raises:
        ValueError: the image or alpha has another shape or type, or the kind is unknown.
    """
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or min(image.shape[:2]) < 16:
        raise ValueError(f"image must be uint8 of shape (H, W, 3), got {image.dtype} of shape {image.shape}")
    if kind not in KINDS:
        raise ValueError(f"unknown kind of forgery {kind!r}, choose from {', '.join(KINDS)}")
    if alpha is None:
        alpha = random_alpha(image.shape[0], image.shape[1], rng)
    if alpha.shape != image.shape[:2]:
        raise ValueError(f"alpha must have shape {image.shape[:2]}, got {alpha.shape}")
    rows, columns = _span(alpha.max(axis=1) > 0), _span(alpha.max(axis=0) > 0)
    piece = image[rows, columns].astype(np.float32)
    blended = piece + alpha[rows, columns, None] * (KINDS[kind](piece, rng) - piece)
    forged = image.copy()
    forged[rows, columns] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    return Forgery(forged, alpha >= 0.5, kind)


# ---------------------------------------------------------------------------------------------------- regions


def ellipse_outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """Outline of an ellipse with a random aspect ratio, (64, 2) points around the origin."""
    aspect = np.exp(rng.uniform(-0.6, 0.6))
    return np.stack([aspect * np.cos(_ANGLES), np.sin(_ANGLES) / aspect], axis=1)


def rectangle_outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """Outline of a rectangle with a random aspect ratio, (4, 2) points around the origin."""
    aspect = np.exp(rng.uniform(-0.5, 0.5))
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (aspect, 1 / aspect)


def blob_outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """Outline of a smooth random blob, (64, 2) points around the origin."""
    order = np.arange(2, 6)[:, None]
    waves = rng.normal(0, 0.35, (4, 1)) / order * np.cos(order * _ANGLES + rng.uniform(0, 2 * np.pi, (4, 1)))
    return np.exp(waves.sum(axis=0))[:, None] * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


OUTLINES = (blob_outline, ellipse_outline, rectangle_outline)
"""Shapes that random regions have."""


def outline_alpha(
    size: tuple[int, int],
    outline: NDArray[np.float64],
    centre: tuple[float, float],
    area: float,
    softness: float,
) -> NDArray[np.float32]:
    """Draw a region as a map of weights.

    Args:
        size: height and width of the map in pixels.
        outline: corners of the region around the origin as (x, y), shape (N, 2), of any size.
        centre: where the origin goes, (x, y) in pixels.
        area: share of the map that the region covers where none of it falls outside.
        softness: standard deviation in pixels of the Gaussian that blurs the edge; 0 for a hard edge.

    Returns:
        Weights in [0, 1], float32 of shape `size`.
    """
    x, y = outline.T
    own_area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
    points = outline * np.sqrt(area * size[0] * size[1] / own_area) + np.asarray(centre)
    canvas = Image.new("L", (size[1], size[0]))
    ImageDraw.Draw(canvas).polygon(points.ravel().tolist(), fill=255)
    if softness > 0:
        canvas = canvas.filter(ImageFilter.GaussianBlur(softness))
    return np.asarray(canvas, np.float32) / np.float32(255)


def random_alpha(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a random region with a hard or a soft edge.

    The shape is one of `OUTLINES`, turned by a random angle. Its centre is uniform over the image, and what
    falls outside is cut off; where less than `MIN_AREA` or more than `MAX_AREA` is left, another is drawn.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        rng: source of every random choice.

    Returns:
        Weights in [0, 1], float32 of shape (height, width).
    """
    while True:
        outline = OUTLINES[rng.integers(len(OUTLINES))](rng)
        turn = rng.uniform(0, np.pi)
        outline = outline @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        area = float(np.exp(rng.uniform(np.log(MIN_AREA), np.log(MAX_AREA))))
        softness = rng.uniform(0.5, max(0.5, 0.02 * min(height, width))) if rng.random() < 0.5 else 0.0
        alpha = outline_alpha((height, width), outline, centre, area, softness)
        if MIN_AREA <= float((alpha >= 0.5).mean()) <= MAX_AREA:
            return alpha


# ------------------------------------------------------------------------------------------------------ edits
# Each takes a photograph of shape (H, W, 3), 0 to 255, and returns an edited one of the same shape.


def upsampling(image: FloatImage, rng: np.random.Generator) -> FloatImage:
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
            small = _double(small, axis, rng.uniform(0.01, 0.03) * rng.choice((-1, 1)))
    kept = rng.uniform(0.2, 0.5)
    redrawn = small[top : top + height, left : left + width]
    return (redrawn + kept * (image - _smooth(image, 1.0))).astype(np.float32)


def resampling(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Enlarge and turn the image slightly about a random point, as a pasted and fitted object would be."""
    height, width = image.shape[:2]
    scale, turn = 1 / rng.uniform(1.1, 1.5), rng.uniform(-0.2, 0.2)
    pad = min(height, width) // 2
    x, y = rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.75) * height
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    matrix = (cos, -sin, pad + x - cos * x + sin * y, sin, cos, pad + y - sin * x - cos * y)
    method = Image.Resampling.BILINEAR if rng.random() < 0.5 else Image.Resampling.BICUBIC
    padded = np.pad(image.astype(np.uint8), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    warped = Image.fromarray(padded).transform((width, height), Image.Transform.AFFINE, matrix, method)
    return np.asarray(warped, np.float32)


def noise(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Give the image another camera's grain: its own is smoothed, new grain (5 to 12 levels) is added."""
    grain = rng.normal(0, rng.uniform(5, 12), image.shape).astype(np.float32)
    shared = np.float32(rng.uniform(0, 1))  # how far the three colours share one grain
    common = np.float32(np.sqrt(3)) * grain.mean(axis=2, keepdims=True)
    return _smooth(image, rng.uniform(0.4, 0.8)) + shared * common + (1 - shared) * grain


def color(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Develop the image with another white balance, contrast and saturation."""
    balance = np.exp(rng.normal(0, 0.14, 3)).astype(np.float32)
    grey = image.mean(axis=2, keepdims=True)
    saturation = np.float32(np.exp(rng.uniform(0.25, 0.6) * rng.choice((-1, 1))))
    contrast = np.float32(np.exp(rng.uniform(-0.25, 0.25)))
    return (128 + contrast * (grey - 128) + saturation * (image - grey)) * balance


KINDS: dict[str, Callable[[FloatImage, np.random.Generator], FloatImage]] = {
    "upsampling": upsampling,
    "resampling": resampling,
    "noise": noise,
    "color": color,
}
"""Edits by name: each takes a photograph of shape (H, W, 3) and returns an edited one of the same shape."""


def _double(image: FloatImage, axis: int, gain: float) -> FloatImage:
    """Double one axis: zeros inserted, then the kernel ((1 - gain) / 2, 1 + gain, (1 - gain) / 2)."""
    following = image.take([*range(1, image.shape[axis]), image.shape[axis] - 1], axis)
    pairs = np.stack([(1 + gain) * image, (1 - gain) / 2 * (image + following)], axis=axis + 1)
    return pairs.reshape([2 * n if a == axis else n for a, n in enumerate(image.shape)]).astype(np.float32)


def _span(occupied: NDArray[np.bool_]) -> slice:
    """Smallest slice that holds every true element, and `MARGIN` elements on either side."""
    places = np.flatnonzero(occupied) if occupied.any() else np.array([0, len(occupied) - 1])
    return slice(max(int(places[0]) - MARGIN, 0), int(places[-1]) + MARGIN + 1)


def _smooth(image: FloatImage, sigma: float) -> FloatImage:
    """Blur with a Gaussian of three taps a side, the border repeated; sigma in pixels."""
    taps = np.exp(-0.5 * (np.arange(-3, 4) / sigma) ** 2).astype(np.float32)
    taps /= taps.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(3, 3) if a == axis else (0, 0) for a in range(3)], mode="edge")
        shifted = [padded.take(range(i, i + image.shape[axis]), axis) for i in range(len(taps))]
        image = np.tensordot(taps, np.stack(shifted), axes=1)
    return image
