"""The one model in memory, with what was found out about it once."""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from xai.attention import grid_of
from xai.attr import COMPARED, METHODS, PRESETS, find_capabilities
from xai.core import Sample, UsageError, nearest
from xai.core.language import gettext
from xai.core.names import method_in_words, row_in_words
from xai.explanation import Explainer, FaceFinder, noise
from xai.explanation.arguments import Wanted
from xai.explanation.explainer import logits_of
from xai.explanation.inputs import ModelInput, prepare
from xai.explanation.removal import removal_operator
from xai.models import Classifier
from xai.perturb import Operator
from xai.report.about import without_folders


@dataclass(frozen=True)
class ServeSettings:
    """What every explanation is made with, as `xai explain` takes it.

    Args:
        target: See `Targets.parse`.
        batch_size: Images at once, where a method asks for several.
        seed: Of methods that draw random numbers.
        faces: Makes what cuts faces out of photographs, None where that is not to be done.
    """

    target: Wanted = None
    batch_size: int = 8
    seed: int = 0
    faces: Callable[[Classifier], FaceFinder | None] = lambda classifier: None


@dataclass(frozen=True)
class Answer:
    """What a model says of an image.

    Args:
        probabilities: By class, the largest first.
        predicted: The likeliest class.
        seen: (left, top, right, bottom) of what the model saw, in pixels of the image.
        grid: (rows, columns) of the patches that can be removed.
    """

    probabilities: Mapping[str, float]
    predicted: str
    seen: tuple[float, float, float, float]
    grid: tuple[int, int]


@dataclass(eq=False)
class LoadedModel:
    """A classifier, which methods work on it, and what it was asked with.

    Args:
        name: Under which the page offers it.
        classifier: The model.
        settings: Of explanations.

    Raises:
        ModelError: It does not answer, or not twice alike, or the weights that find faces are missing.
    """

    name: str
    classifier: Classifier
    settings: ServeSettings
    faces: FaceFinder | None = field(init=False)
    methods: list[dict[str, Any]] = field(init=False)
    default: str = field(init=False)
    _explainers: dict[str, Explainer] = field(init=False, default_factory=dict)
    _operators: dict[tuple[int, ...], Operator] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.faces = self.settings.faces(self.classifier)
        working = find_capabilities(self.classifier, noise(self.classifier)).methods
        made = self._make(None)
        self.default = made.preset or made.method_name
        self.methods = [_preset(name) for name, one in PRESETS.items() if one.method in working]
        self.methods += [_method(name) for name in working]
        self._explainers[self.default] = made

    @property
    def words(self) -> str:
        """Its name without folders."""
        return str(without_folders(self.classifier.name))

    def describe(self) -> dict[str, Any]:
        """What the page shows of it, JSON-ready."""
        return {
            "name": self.name,
            "words": self.words,
            "labels": list(self.classifier.labels),
            "independent": self.classifier.problem_type.independent,
            "device": str(self.classifier.device),
            "methods": self.methods,
            "default": self.default,
            "compared": [name for name in COMPARED if any(one["key"] == name for one in self.methods)],
            "faces": self.faces is not None,
        }

    def explainer(self, key: str) -> Explainer:
        """What explains with a method or a preset.

        Raises:
            UsageError: The model has no such method.
        """
        if key not in self._explainers:
            known = [one["key"] for one in self.methods]
            if key not in known:
                raise UsageError(f"Unknown method {key!r}.", nearest(key, known))
            self._explainers[key] = self._make(key)
        return self._explainers[key]

    def _make(self, method: str | None) -> Explainer:
        given = {"batch_size": self.settings.batch_size, "seed": self.settings.seed}
        return Explainer(self.classifier, method, self.settings.target, **given)

    def answer(self, sample: Sample) -> Answer:
        """What the model says of an image.

        Raises:
            DataError: The preprocessing cannot take it.
        """
        seen = self.prepare(sample)
        pixels = self.batch(seen)
        logits = logits_of(self.classifier, pixels)[0].cpu().numpy()
        found = self.classifier.problem_type.probabilities(logits).tolist()
        ranked = sorted(zip(self.classifier.labels, found, strict=True), key=lambda one: -one[1])
        grid = grid_of(self.classifier, pixels)
        return Answer(dict(ranked), ranked[0][0], seen.geometry.box, (grid.rows, grid.cols))

    def prepare(self, sample: Sample) -> ModelInput:
        """A sample as the model sees it."""
        return prepare(self.classifier, sample)

    def batch(self, seen: ModelInput) -> Tensor:
        """(1, 3, H, W) of it, where the model is."""
        return seen.pixels[None].to(self.classifier.device)

    def operator(self, pixels: Tensor) -> Operator:
        """What removing patches means for this model, tried once for each size of input (1, 3, H, W)."""
        size = tuple(pixels.shape)
        if size not in self._operators:
            self._operators[size] = removal_operator(self.classifier, pixels)
        return self._operators[size]

    def class_index(self, name: str) -> int:
        """Index of a class.

        Raises:
            UsageError: There is none of this name.
        """
        if name not in self.classifier.labels:
            raise UsageError(f"Unknown class {name!r}.", nearest(name, self.classifier.labels[:20]))
        return self.classifier.labels.index(name)


def free_memory() -> None:
    """Give back what a model that nobody holds any more took."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _preset(name: str) -> dict[str, Any]:
    preset, info = PRESETS[name], METHODS[PRESETS[name].method].info
    return {
        "key": name,
        "words": row_in_words(name, preset.method),
        "summary": f"{preset.purpose} {preset.caution}".strip(),
        "family": "preset",
        "passes": info.forwards + info.backwards,
    }


def _method(name: str) -> dict[str, Any]:
    info = METHODS[name].info
    return {
        "key": name,
        "words": method_in_words(name),
        "summary": gettext(info.summary),
        "family": info.family,
        "passes": info.forwards + info.backwards,
    }
