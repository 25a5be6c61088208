"""An image to be explained, where the model looked at it, and what a method said about it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from xai.core.classes import ProblemType
from xai.core.errors import ModelError, UsageError, nearest
from xai.core.language import DEFAULT, Language

if TYPE_CHECKING:
    from PIL.Image import Image


CLICK_TOLERANCE = 15 / 224
"""Of the shorter side: so near to a click is a hit. Zhang et al. 2018 allow 15 pixels at about 224."""

# how a grid is said, wherever a model is named
GRID_HINT = (
    "--grid 14x14+1 (rows x columns + tokens before them) on the command line, the same after grid: in a "
    "YAML file, grid=PatchGrid(14, 14, 1) in xai.load"
)

GRID_PATTERN = r"^\d{1,5}x\d{1,5}(\+\d{1,5})?$"
Array = TypeVar("Array", bound=Any)  # numpy array or torch tensor: both slice and reshape alike
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photograph.

    Args:
        points: (5, 2) x and y of the eye on the image's left, the eye on its right, the tip of the nose, the
            left and the right corner of the mouth; or, where they were known, (68, 2) or (81, 2) as dlib
            numbers them. In pixels of the photograph, whose centres are whole numbers, as in dlib and OpenCV.
        box: (x, y, width, height) around the face, in the same pixels; may reach beyond the photograph.
        score: The detector's confidence, in [0, 1].
    """

    points: np.ndarray
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, eq=False)
class Origin:
    """The photograph or video frame that a sample's image was cut from.

    Args:
        image: The whole of it: RGB, upright, at its own resolution.
        to_crop: (2, 3) float64: pixel (x, y) of the photograph lies at `to_crop @ (x, y, 1)` in the crop.
            Whole numbers are centres of pixels.
        face: The face that the crop was aligned to, if it was.
        number: Which of the faces of the photograph, from 0, the largest first.
        frame: Index of the video frame, if it is one.
        seconds: When the frame is shown.
    """

    image: "Image"
    to_crop: np.ndarray
    face: Face | None = None
    number: int = 0
    frame: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with what is known about it.

    Args:
        id: Unique within a run; also the stem of the files written for it.
        image: RGB, upright, at its own resolution.
        path: Where it was read, if from a file.
        label: True class name, if known.
        mask: (H, W) bool, True where the image was tampered with, if known.
        box: (x, y, width, height) in pixels of `image`: the crop the classifier sees, None for all of it.
        group: What the image is a frame or crop of (video, identity, photograph), if known; images of one
            group are not independent.
        kind: How it was manipulated (`splice`, `Deepfakes` …) or `pristine`, if known.
        origin: What `image` was cut from and turned upright, if it was; maps are drawn back on that too.
        landmarks: (5, 2), (68, 2) or (81, 2) points of the face in pixels of `image`, if known: five as in
            `Face`, more as dlib numbers them. Whole numbers are centres of pixels.
        clicks: (N, 2) x and y in pixels of `image` where people saw that it was tampered with, if known.
            Whole numbers are centres of pixels.
    """

    id: str
    image: "Image"
    path: Path | None = None
    label: str | None = None
    mask: "np.ndarray | None" = None
    box: tuple[float, float, float, float] | None = None
    group: str | None = None
    kind: str | None = None
    origin: Origin | None = None
    landmarks: np.ndarray | None = None
    clicks: np.ndarray | None = None


@dataclass(frozen=True)
class PatchGrid:
    """The patch tokens of a vision transformer: `prefix` special tokens, then rows × cols patches.

    Args:
        rows: Patches from top to bottom.
        cols: Patches from left to right.
        prefix: Tokens before the first patch (class token, distillation token, registers).
    """

    rows: int
    cols: int
    prefix: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1 or self.prefix < 0:
            raise ModelError(f"A patch grid needs rows, cols ≥ 1 and prefix ≥ 0; got {self}.")

    @property
    def patches(self) -> int:
        """Number of patch tokens."""
        return self.rows * self.cols

    @property
    def tokens(self) -> int:
        """Number of all tokens, prefix included."""
        return self.prefix + self.patches

    def to_patches(self, tokens: Array) -> Array:
        """Drop the prefix and fold the last axis: (..., tokens) → (..., rows, cols)."""
        if tokens.shape[-1] != self.tokens:
            raise ModelError(
                f"The grid has {self.prefix} + {self.rows}×{self.cols} = {self.tokens} tokens, "
                f"the model has {tokens.shape[-1]}.",
                f"Say a grid that fits the model: {GRID_HINT}.",
            )
        return tokens[..., self.prefix :].reshape(*tokens.shape[:-1], self.rows, self.cols)


def parse_grid(text: str) -> PatchGrid | tuple[int, int]:
    """Read "14x14" as (14, 14) and "14x14+1", with one token before the patches, as a PatchGrid.

    Raises:
        UsageError: It is neither.
    """
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×]\s*(\d{1,5})\s*(?:\+\s*(\d{1,5})\s*)?", text)
    if found is None or 0 in map(int, found.groups()[:2]):
        raise UsageError(
            f"{text!r} is no patch grid.",
            "Write rows x columns, such as 14x14, and the tokens before the patches after a +: 14x14+1.",
        )
    rows, cols = int(found[1]), int(found[2])
    return (rows, cols) if found[3] is None else PatchGrid(rows, cols, int(found[3]))


@dataclass(frozen=True)
class Geometry:
    """Which rectangle of the original image the model's input shows.

    Resize and crop are both axis-aligned, so one rectangle says it all. It may reach beyond the
    image where the preprocessing pads.

    Args:
        size: (width, height) of the original image in pixels.
        box: (left, top, right, bottom) of the input's field of view, in pixels of the original.
    """

    size: tuple[int, int]
    box: Box

    @classmethod
    def resize_crop(
        cls,
        size: tuple[int, int],
        resized: tuple[int, int] | None,
        crop: tuple[int, int] | None,
        offset: tuple[int, int] | None = None,
    ) -> "Geometry":
        """Geometry of "resize to `resized`, then crop to `crop`" (each (width, height) or None).

        The crop's (left, top) in the resized image is `offset`; None for the centre, rounded down.
        """
        width, height = resized or size
        crop_width, crop_height = crop or (width, height)
        # integer offsets, as the processors cut them
        left, top = offset or ((width - crop_width) // 2, (height - crop_height) // 2)
        sx, sy = size[0] / width, size[1] / height
        return cls(size, (left * sx, top * sy, (left + crop_width) * sx, (top + crop_height) * sy))

    def within(self, size: tuple[int, int], offset: tuple[float, float]) -> "Geometry":
        """The same field of view in a larger image of `size`, of which this image is the crop at `offset`."""
        dx, dy = offset
        left, top, right, bottom = self.box
        return replace(self, size=size, box=(left + dx, top + dy, right + dx, bottom + dy))

    def aspect_change(self, size: tuple[int, int]) -> float:
        """How many times wider, or higher, than it is the view is shown to the model, 1 where it is as it is.

        Args:
            size: (height, width) of the model's input, in any unit.
        """
        left, top, right, bottom = self.box
        change = (right - left) / (bottom - top) * size[0] / size[1]
        return max(change, 1 / change)

    def project(self, patches: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
        """Lay a patch map over the original image, bilinear between patch centres.

        Args:
            patches: (rows, cols) relevance.
            size: (width, height) to draw at; default the original's own.

        Returns:
            (height, width) array, NaN where the model saw nothing.
        """
        width, height = size or self.size
        left, top, right, bottom = self.box
        rows = _interpolation(height, top, bottom, self.size[1], patches.shape[0])
        cols = _interpolation(width, left, right, self.size[0], patches.shape[1])
        patches, across = np.asarray(patches, dtype=np.float32), np.ascontiguousarray(cols.T)
        # so few rows at once that OpenBLAS does not divide the product among threads: they spin while they
        # wait for each other, and beside a model on all cores that takes a hundred times as long
        step = max(1, 2**18 // across.size)
        heat = np.empty((height, width), np.float32)
        for start in range(0, height, step):
            np.matmul(rows[start : start + step] @ patches, across, out=heat[start : start + step])
        return heat


def _interpolation(pixels: int, start: float, stop: float, extent: int, patches: int) -> np.ndarray:
    """(pixels, patches) weights that read patch centres linearly; NaN rows outside [start, stop)."""
    where = (np.arange(pixels) + 0.5) * extent / pixels
    position = (where - start) / (stop - start) * patches - 0.5
    inside = (where >= start) & (where < stop)
    clamped = np.clip(position, 0, patches - 1)
    low = np.minimum(clamped.astype(int), max(patches - 2, 0))
    high = np.minimum(low + 1, patches - 1)
    weight = (clamped - low).astype(np.float32)
    matrix = np.zeros((pixels, patches), np.float32)
    index = np.arange(pixels)
    matrix[index, low] += 1 - weight
    matrix[index, high] += weight
    matrix[~inside] = np.nan
    return matrix


@dataclass(frozen=True, eq=False)
class Explanation:
    """Patch relevance per class for one image.

    Args:
        sample: The image explained.
        labels: All class names, in the order of the logits.
        logits: (classes,) the model's answer.
        maps: Class name → (rows, cols) relevance, raw: not normalised, on the scale of the method.
        geometry: Which part of the image the model saw.
        method: Registry name of the attribution method.
        options: The method's options, JSON-ready.
        model: What was explained (name, fingerprint, dtype, device …), JSON-ready.
        layers: Class name → (layers, heads, rows, cols) that the map is made of, where the method has them
            at no further pass; else empty.
        problem_type: What the logits mean: exclusive classes, or independent labels.
        preset: Name of the preset whose method and options these are, None if it is that of none.
        token_norms: (rows, cols) length of the patch tokens that enter the model's last block, over their
            median in this image; None where the model has no one row of tokens.
        score_changes: Class name → change of the score to which its map should sum, where that is known.
        lang: Language in which a notebook shows it.

    Attributes:
        renderer: Draws an explanation as HTML where a notebook shows one. Set by `xai.report` when it is
            imported, which `xai.explain` does; without it a notebook shows the plain representation.
    """

    renderer: ClassVar[Callable[["Explanation"], str] | None] = None

    sample: Sample
    labels: tuple[str, ...]
    logits: np.ndarray
    maps: Mapping[str, np.ndarray]
    geometry: Geometry
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)
    problem_type: ProblemType = ProblemType.SINGLE_LABEL
    preset: str | None = None
    token_norms: np.ndarray | None = None
    score_changes: Mapping[str, float] = field(default_factory=dict)
    lang: Language = DEFAULT

    @property
    def probabilities(self) -> dict[str, float]:
        """By class name: the softmax of the logits, or of independent labels the sigmoid of each."""
        return dict(zip(self.labels, self.problem_type.probabilities(self.logits).tolist(), strict=True))

    @property
    def predicted(self) -> str:
        """The class with the largest logit; of independent labels the likeliest, see `predicted_labels`."""
        return self.labels[int(self.logits.argmax())]

    @property
    def predicted_labels(self) -> tuple[str, ...]:
        """What the model says is there, the likeliest first.

        The predicted class; or all independent labels with a probability of at least one half, maybe none.
        """
        return predicted_labels(self.probabilities, self.problem_type)

    @property
    def followed(self) -> str:
        """The map that speaks for the image where one has to: of the predicted class, else the first."""
        return self.predicted if self.predicted in self.maps else next(iter(self.maps))

    @property
    def scale(self) -> float:
        """Largest absolute relevance over all maps: the one scale on which they may be compared."""
        return max((float(np.abs(values).max()) for values in self.maps.values()), default=0.0)

    def _repr_html_(self) -> str | None:
        """What a notebook shows, if there is something that draws it."""
        render = type(self).renderer
        return None if render is None else render(self)

    def difference(self, first: str, second: str) -> np.ndarray:
        """(rows, cols) `first` − `second` on the common scale, in [−2, 2] (in [−1, 1] for maps ≥ 0)."""
        return self._scaled(first) - self._scaled(second)

    def overlap(self, first: str, second: str) -> np.ndarray:
        """(rows, cols) the smaller of the two positive relevances on the common scale, in [0, 1]."""
        return np.minimum(self._scaled(first).clip(0), self._scaled(second).clip(0))

    def _scaled(self, name: str) -> np.ndarray:
        if name not in self.maps:
            raise UsageError(f"No map for class {name!r}.", nearest(name, self.maps))
        return self.maps[name] / (self.scale or 1.0)


def predicted_labels(
    probabilities: Mapping[str, float], problem_type: ProblemType = ProblemType.SINGLE_LABEL
) -> tuple[str, ...]:
    """The likeliest of exclusive classes, or all independent labels of at least one half, likeliest first."""
    ranked = sorted(probabilities, key=lambda name: -probabilities[name])
    if not problem_type.independent:
        return tuple(ranked[:1])
    return tuple(name for name in ranked if probabilities[name] >= 0.5)
