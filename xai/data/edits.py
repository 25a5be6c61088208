"""Edits inside a region: of what a photograph shows there, or of pixels from elsewhere in it or another one.

Edits of a piece take it in the shape (H, W, 3), intensities 0 to 255, and return **all** of it edited, in the
same shape and not clipped: what it shows stays where it is, its traces change. All but `seam` are meant for
the inside of a region, and take a strength: the ranges that they name are those of strength 1, and are
multiplied by it. Edits that need more than the piece take a `Scene`, the whole photograph and maybe another
one, and return the piece in the scene's window anew.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xai.data.regions import Alpha

FloatImage = NDArray[np.float32]
"""Colour image of shape (H, W, 3), intensities on the scale 0 to 255 and not clipped to it."""
Pixels = NDArray[np.uint8]
PLACES = 24
"""Places that are looked at for the source of a copy, beside the corners."""
MAX_OVERLAP = 0.1
"""Share of a copy's source that may lie inside its target, where there is room."""
MIN_CHANGE = 4.0
"""Mean difference in levels between a copy's source and what it covers, where there is such a source."""


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
    share = rng.uniform(0.2, 0.5) / strength
    redrawn = small[top : top + height, left : left + width]
    return (redrawn + share * (image - _smooth(image, 1.0))).astype(np.float32)


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


@dataclass(frozen=True)
class Scene:
    """What an edit gets to see.

    Attributes:
        image: the photograph, uint8 of shape (H, W, 3).
        alpha: weight of the edit at each pixel, float32 of shape (H, W).
        window: rows and columns around the region, which the edit hands back.
        donor: another photograph of the same shape, for edits that need one.
        strength: of edits that redraw what is there; those that bring other content take no heed of it.
    """

    image: Pixels
    alpha: Alpha
    window: tuple[slice, slice]
    donor: Pixels | None = None
    strength: float = 1.0

    @property
    def piece(self) -> FloatImage:
        """What the photograph shows in the window."""
        return self.image[self.window].astype(np.float32)

    @property
    def weights(self) -> Alpha:
        """Weight of the edit in the window."""
        return self.alpha[self.window]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the edit has at least half of its weight, shape (H, W)."""
        return self.alpha >= 0.5

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the smallest box around the mask; empty if the mask is."""
        rows, columns = (np.flatnonzero(self.mask.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def self_blend(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """The photograph itself, slightly moved, resized, developed otherwise, and sharper or softer.

    After the self-blended images of Shiraishi & Yamasaki 2022 (arXiv 2204.08376, section 3.2) with their
    ranges: up to 3 % of the width and 1.5 % of the height aside, 5 % larger or smaller, brightness and
    contrast by 10 %, three of ten times each colour by 20 levels; reduced and enlarged again, or sharpened.
    Otherwise than there, the outside is never the changed one (the mask would name the wrong side), the
    inside has full weight, and any place is as likely as the face. The ranges are those of strength 1.
    """
    strength, (height, width) = scene.strength, scene.image.shape[:2]
    shift = (strength * rng.uniform(-0.03, 0.03) * width, strength * rng.uniform(-0.015, 0.015) * height)
    source = _moved(scene.image, scene.window, float(np.exp(strength * rng.uniform(-0.05, 0.05))), shift)
    if rng.random() < 0.3:
        source = source + strength * rng.uniform(-20, 20, 3)
    contrast, brightness = 1 + strength * (rng.uniform(0.9, 1.1) - 1), strength * rng.uniform(-0.1, 0.1)
    source = (contrast * source + 255 * brightness).astype(np.float32)
    reduced = _reduced(source, 1 + strength * (rng.uniform(1.5, 3) - 1))
    if rng.random() < 0.5:
        return reduced
    return (source + strength * rng.uniform(0.4, 1) * (source - reduced)).astype(np.float32)


def splice(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """Content of the donor from a random place, its colours none to all of the way to those it covers."""
    donor = _given(scene.donor)
    top, left = (int(rng.integers(0, room + 1)) for room in _room(scene))
    pasted = _fetched(donor, scene, top, left)
    return _recoloured(pasted, scene.piece, scene.weights, rng.uniform(0, 1))


def copy_move(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """Content of another place of the same photograph, as it is.

    Of random places, the first that shares at most `MAX_OVERLAP` with the region and differs visibly from
    what it covers; failing that the one that differs most, and for a region too large the least shared one.

    Raises:
        ValueError: the region spans the whole photograph, so that there is no other place.
    """
    mask, core, room = scene.mask, scene.mask[scene.box], _room(scene)
    if not core.size:
        return scene.piece
    if max(room) == 0:
        raise ValueError("the region spans the whole photograph, which leaves no other place to copy from")
    random = rng.integers(0, np.add(room, 1), (PLACES, 2))
    places = np.concatenate([random, [(y, x) for y in (0, room[0]) for x in (0, room[1])]])
    height, width = core.shape
    shared = np.array([(mask[y : y + height, x : x + width] & core).sum() for y, x in places]) / core.sum()
    if shared.min() > MAX_OVERLAP:
        return _fetched(scene.image, scene, *places[shared.argmin()])
    best, change = scene.piece, -1.0
    for top, left in places[shared <= MAX_OVERLAP]:
        copied = _fetched(scene.image, scene, top, left)
        difference = float(np.abs(copied - scene.piece)[mask[scene.window]].mean())
        if difference > change:
            best, change = copied, difference
        if change >= MIN_CHANGE:
            break
    return best


def face_swap(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """The donor's face over the host's, in the host's colours, aligned to about 2 % of the portrait.

    Both portraits are assumed to show the face at the same place and size, as aligned crops do; there is no
    face detector here. Mean and deviation of each colour inside the region become the host's (Reinhard et
    al. 2001, in RGB instead of lαβ).
    """
    donor = _given(scene.donor)
    height, width = donor.shape[:2]
    shift = (rng.uniform(-0.02, 0.02) * width, rng.uniform(-0.02, 0.02) * height)
    face = _moved(donor, scene.window, float(np.exp(rng.uniform(-0.05, 0.05))), shift)
    return _recoloured(face, scene.piece, scene.weights, 1.0)


def _given(donor: Pixels | None) -> Pixels:
    if donor is None:
        raise ValueError("this kind of forgery needs a donor, another photograph of the same shape")
    return donor


def _room(scene: Scene) -> tuple[int, int]:
    """How far the mask's box can be moved down and right from the top left corner."""
    height, width = (extent.stop - extent.start for extent in scene.box)
    return scene.image.shape[0] - height, scene.image.shape[1] - width


def _fetched(photo: Pixels, scene: Scene, top: int, left: int) -> FloatImage:
    """The window as it looks once the mask's box has its corner at (top, left); borders are repeated."""
    places = [
        np.clip(np.arange(window.start, window.stop) + start - box.start, 0, extent - 1)
        for window, box, start, extent in zip(scene.window, scene.box, (top, left), photo.shape, strict=False)
    ]
    return photo[np.ix_(*places)].astype(np.float32)


def _moved(
    photo: Pixels, window: tuple[slice, slice], scale: float, shift: tuple[float, float]
) -> FloatImage:
    """The window of a photograph, scaled about its middle, shifted (x, y) pixels; borders mirrored."""
    rows, columns = window
    pad = min(photo.shape[:2]) // 4
    padded = np.pad(photo, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    width, height = columns.stop - columns.start, rows.stop - rows.start
    x = pad + columns.start + (width - width / scale) / 2 - shift[0] / scale
    y = pad + rows.start + (height - height / scale) / 2 - shift[1] / scale
    matrix = (1 / scale, 0, x, 0, 1 / scale, y)
    moved = Image.fromarray(padded).transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    return np.asarray(moved, np.float32)


def _reduced(image: FloatImage, factor: float) -> FloatImage:
    """Reduce by a factor and enlarge again; PIL resizes floats of one channel only."""
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    channels = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(3)]
    restored = [
        channel.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BILINEAR)
        for channel in channels
    ]
    return np.stack([np.asarray(channel, np.float32) for channel in restored], axis=2)


def _recoloured(image: FloatImage, like: FloatImage, weights: Alpha, strength: float) -> FloatImage:
    """Move mean and deviation of each colour by `strength` towards those of `like`, under the weights.

    Deviations are at most doubled or halved, lest a flat face turn into a grimace.
    """
    total = weights.sum()
    if total == 0:
        return image
    share = (weights / total)[..., None]
    means, deviations = [], []
    for one in (image, like):
        mean = (share * one).sum(axis=(0, 1))
        means.append(mean)
        deviations.append(np.sqrt((share * (one - mean) ** 2).sum(axis=(0, 1))))
    ratio = np.clip(deviations[1] / np.maximum(deviations[0], 1e-3), 0.5, 2)
    matched = (image - means[0]) * ratio + means[1]
    return (image + np.float32(strength) * (matched - image)).astype(np.float32)
