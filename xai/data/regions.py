"""Where a forgery goes: regions of random shape, place, size and edge, as maps of weights in [0, 1]."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Alpha = NDArray[np.float32]
"""Weight of an edit at each pixel, float32 of shape (H, W) in [0, 1]."""
Outline = Callable[[np.random.Generator], NDArray[np.float64]]
MIN_AREA = 0.02
"""Smallest share of the image that a random mask covers."""
MAX_AREA = 0.30
"""Largest share of the image that a random mask covers."""
_ANGLES = np.linspace(0, 2 * np.pi, 64, endpoint=False)


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


OUTLINES: tuple[Outline, ...] = (blob_outline, ellipse_outline, rectangle_outline)
"""Shapes that random regions have."""


def outline_alpha(
    size: tuple[int, int],
    outline: NDArray[np.float64],
    centre: tuple[float, float],
    area: float,
    softness: float,
) -> Alpha:
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
    return _blurred(canvas, softness)


def random_alpha(height: int, width: int, rng: np.random.Generator) -> Alpha:
    """Draw a random region with a hard or a soft edge.

    The shape is one of `OUTLINES`, turned by a random angle. Its centre is uniform over the image, and what
    falls outside is cut off; where less than `MIN_AREA` or more than `MAX_AREA` is left, another is drawn.
    Three of a hundred are drawn again, nearly all at the border: a centre within an eighth of the side of it
    is one twentieth rarer than elsewhere, and in the corners one tenth.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        rng: source of every random choice.

    Returns:
        Weights in [0, 1], float32 of shape (height, width).
    """
    return _anywhere(height, width, rng, OUTLINES, _hard_or_soft)


def soft_alpha(height: int, width: int, rng: np.random.Generator) -> Alpha:
    """Draw a random blob as `random_alpha` does, its edge always soft: 1 to 3 % of the shorter side."""
    return _anywhere(height, width, rng, (blob_outline,), _soft)


def rim_alpha(height: int, width: int, rng: np.random.Generator) -> Alpha:
    """Draw the rim of a random region: a band along the outline, faint towards both of its sides.

    The *region* covers 2 to 30 % of the image; the rim, which is the mask, covers far less.
    """
    region = random_alpha(height, width, rng)
    return rim_of(region, rng.uniform(0.8, max(0.8, 0.012 * min(height, width))))


def rim_of(region: Alpha, width: float) -> Alpha:
    """Weights 4·b·(1 − b), where b is the region with its edge blurred: 1 on the outline, 0 off it.

    Args:
        region: weights of the region; its outline is where they pass one half.
        width: standard deviation in pixels of the blur; 1.05 of it off a straight edge the weight is 0.5.

    Returns:
        Weights in [0, 1], float32 of the region's shape. The image's own border is no outline.
    """
    blurred = _blurred(Image.fromarray((region >= 0.5).astype(np.uint8) * np.uint8(255)), width)
    return 4 * blurred * (1 - blurred)


def face_alpha(height: int, width: int, rng: np.random.Generator) -> Alpha:
    """Draw a soft upright ellipse over the middle of a portrait, where a centred face is: 12 to 24 % of it.

    Not uniform over the image: no face is looked for, the portrait is assumed to be cropped about it.
    """
    tall = np.sqrt(rng.uniform(1.25, 1.45))
    outline = np.stack([np.cos(_ANGLES) / tall, np.sin(_ANGLES) * tall], axis=1)
    centre = (width * (0.5 + rng.uniform(-0.02, 0.02)), height * (0.52 + rng.uniform(-0.02, 0.02)))
    return outline_alpha(
        (height, width), outline, centre, rng.uniform(0.12, 0.24), _soft(min(height, width), rng)
    )


def _anywhere(
    height: int,
    width: int,
    rng: np.random.Generator,
    outlines: Sequence[Outline],
    softness: Callable[[int, np.random.Generator], float],
) -> Alpha:
    while True:
        outline = outlines[int(rng.integers(len(outlines)))](rng)
        turn = rng.uniform(0, np.pi)
        outline = outline @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        area = float(np.exp(rng.uniform(np.log(MIN_AREA), np.log(MAX_AREA))))
        alpha = outline_alpha((height, width), outline, centre, area, softness(min(height, width), rng))
        if MIN_AREA <= float((alpha >= 0.5).mean()) <= MAX_AREA:
            return alpha


def _hard_or_soft(side: int, rng: np.random.Generator) -> float:
    return rng.uniform(0.5, max(0.5, 0.02 * side)) if rng.random() < 0.5 else 0.0


def _soft(side: int, rng: np.random.Generator) -> float:
    return rng.uniform(0.01, 0.03) * side


def _blurred(canvas: Image.Image, softness: float) -> Alpha:
    if softness > 0:
        canvas = canvas.filter(ImageFilter.GaussianBlur(softness))
    return np.asarray(canvas, np.float32) / np.float32(255)
