"""Seeded local forgeries of photographs inside a known mask.

`forge` edits a photograph inside a random (or a given) region and hands back the edited photograph with that
region, which is the ground truth for judging whether an explanation points at the edit. A *kind* of forgery
is an edit (`xai.data.edits`) and the regions that it is drawn in (`xai.data.regions`);
`forge` has **all** of a window around the region edited and blends it back by the region's weights. The same
image, donor and state of the generator give the same forgery. `docs/forgeries.md` describes the kinds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xai.data import edits
from xai.data.edits import FloatImage, Pixels, Scene
from xai.data.regions import (
    MAX_AREA,
    MIN_AREA,
    OUTLINES,
    Alpha,
    face_alpha,
    outline_alpha,
    random_alpha,
    rim_alpha,
    soft_alpha,
)

__all__ = [
    "KINDS",
    "MAX_AREA",
    "MIN_AREA",
    "OUTLINES",
    "Forgery",
    "Kind",
    "forge",
    "outline_alpha",
    "random_alpha",
]

MARGIN = 16
"""Pixels around the region that an edit gets to see."""
MAX_STRENGTH = 10.0
"""Beyond it nothing is left of what was redrawn."""


@dataclass(frozen=True)
class Forgery:
    """A forged photograph and where it was forged.

    Attributes:
        image: the forged photograph, uint8 of shape (H, W, 3).
        mask: bool of shape (H, W), true where the edit has at least half of its weight.
        kind: name of the edit, a key of `KINDS`.
    """

    image: Pixels
    mask: NDArray[np.bool_]
    kind: str


@dataclass(frozen=True)
class Kind:
    """A kind of forgery.

    Attributes:
        edit: redraws the window of a scene, all of it.
        region: draws weights (height, width) where none are given.
        needs_donor: whether the edit takes from another photograph.
        portrait: whether photographs are taken for centred portraits, and are not cropped at random.
        label: what the forged photograph is. `real` for a control that changes nothing of what is shown: a
            detector that calls it fake has seen how, not what, was blended.
    """

    edit: Callable[[Scene, np.random.Generator], FloatImage]
    region: Callable[[int, int, np.random.Generator], Alpha] = random_alpha
    needs_donor: bool = False
    portrait: bool = False
    label: str = "fake"


def _of_piece(edit: Callable[[FloatImage, np.random.Generator, float], FloatImage]) -> Callable:
    return lambda scene, rng: edit(scene.piece, rng, scene.strength)


KINDS: dict[str, Kind] = {
    "upsampling": Kind(_of_piece(edits.upsampling)),
    "resampling": Kind(_of_piece(edits.resampling)),
    "noise": Kind(_of_piece(edits.noise)),
    "color": Kind(_of_piece(edits.color)),
    "blur": Kind(_of_piece(edits.blur)),
    "self_blend": Kind(edits.self_blend, soft_alpha),
    "splice": Kind(edits.splice, needs_donor=True),
    "copy_move": Kind(edits.copy_move),
    "face_swap": Kind(edits.face_swap, face_alpha, needs_donor=True, portrait=True),
    "seam": Kind(lambda scene, rng: edits.seam(scene.piece, rng), rim_alpha, label="real"),
}
"""Kinds of forgery by name."""


def forge(
    image: Pixels,
    rng: np.random.Generator,
    kind: str,
    alpha: Alpha | None = None,
    donor: Pixels | None = None,
    strength: float = 1.0,
) -> Forgery:
    """Forge a photograph inside a mask.

    Args:
        image: the photograph, uint8 of shape (H, W, 3), at least 16 pixels on each side.
        rng: source of every random choice; its state moves on.
        kind: name of the edit, a key of `KINDS`.
        alpha: weight of the edit at each pixel, float32 of shape (H, W) in [0, 1], for an edit at a chosen
            place; drawn by the kind's `region` when left out. For `seam` these are the weights of the rim
            (`xai.data.regions.rim_of`), not of the region that it goes round.
        donor: another photograph of the same shape, for the kinds that need one.
        strength: how plain the traces are of kinds that redraw what is there: the ranges that their edits
            name are multiplied by it. Splice, copy-move, face swap and seam stay as they are.

    Returns:
        The forged photograph, its mask and its kind.

    Raises:
        ValueError: the image, alpha or donor has another shape or type, the kind is unknown, a donor is
            missing, there is no place to copy from, or the strength is not
            above 0 and at most `MAX_STRENGTH`.
    """
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or min(image.shape[:2]) < 16:
        raise ValueError(f"image must be uint8 of shape (H, W, 3), got {image.dtype} of shape {image.shape}")
    if kind not in KINDS:
        raise ValueError(f"unknown kind of forgery {kind!r}, choose from {', '.join(KINDS)}")
    if KINDS[kind].needs_donor and donor is None:
        raise ValueError(f"{kind} needs a donor, another photograph of shape {image.shape}")
    if donor is not None and (donor.dtype != np.uint8 or donor.shape != image.shape):
        raise ValueError(
            f"donor must be uint8 of shape {image.shape}, got {donor.dtype} of shape {donor.shape}"
        )
    if not 0 < strength <= MAX_STRENGTH:
        raise ValueError(f"strength must be above 0 and at most {MAX_STRENGTH:g}, got {strength}")
    if alpha is None:
        alpha = KINDS[kind].region(image.shape[0], image.shape[1], rng)
    if alpha.shape != image.shape[:2]:
        raise ValueError(f"alpha must have shape {image.shape[:2]}, got {alpha.shape}")
    window = (_span(alpha.max(axis=1) > 0), _span(alpha.max(axis=0) > 0))
    scene = Scene(image, alpha, window, donor, strength)
    blended = scene.piece + scene.weights[..., None] * (KINDS[kind].edit(scene, rng) - scene.piece)
    forged = image.copy()
    forged[window] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    return Forgery(forged, alpha >= 0.5, kind)


def _span(occupied: NDArray[np.bool_]) -> slice:
    """Smallest slice that holds every true element, and `MARGIN` elements on either side."""
    places = np.flatnonzero(occupied) if occupied.any() else np.array([0, len(occupied) - 1])
    return slice(max(int(places[0]) - MARGIN, 0), min(int(places[-1]) + MARGIN + 1, len(occupied)))
