"""One image, and what an attribution method said about it: ready to draw, save and share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xai.core.errors import UsageError, nearest
from xai.core.geometry import Geometry
from xai.core.language import DEFAULT, Language
from xai.core.target import ProblemType

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


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
    """

    id: str
    image: "Image"
    path: Path | None = None
    label: str | None = None
    mask: "np.ndarray | None" = None
    box: tuple[float, float, float, float] | None = None
    group: str | None = None
    kind: str | None = None


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
