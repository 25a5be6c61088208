"""What methods, metrics and protocols say of themselves, without torch and what computes them.

`catalogue.json` holds it of this package's own; `make docs` writes it from the registries, and `make check`
says when it is stale. A page of a run is made from it: names and words are all that it needs of a method.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Family = Literal["attention", "gradient", "perturbation", "control"]
ModelNeed = Literal["pixels", "gradients", "feature_map", "attention", "global_attention", "read_out_token"]


@dataclass(frozen=True)
class MethodInfo:
    """What a method is and costs.

    Args:
        name: Registry name.
        family: "attention", "gradient" (of pixels, tokens or features), "perturbation" (no gradients) or
            "control".
        class_sensitive: Whether the map depends on the target class.
        signed: Whether relevance can be negative under the default options.
        forwards: Forward passes per image under the default options.
        backwards: Backward passes per image and target under the default options.
        reference: Paper, with arXiv id.
        summary: One sentence.
        deterministic: Whether no random numbers are drawn (with a seed, results repeat all the same).
        layers: Whether there are maps per attention layer and head, see `PatchAttribution.attribute_layers`.
        complete: Whether relevance sums to the change of the score from where the method starts, as
            `PatchAttribution.compute_convergence_delta` measures; `_start_logits` says where that is, or the
            method measures its delta itself and its maps' sums are not checked.
        needs: What the model must offer: "pixels" (it can be called), "gradients" (of the logits with respect
            to the pixels), "feature_map" (a last map of features with an extent), "attention" (over all
            patches, or over windows), "global_attention" (over all patches), "read_out_token" (and a token
            besides the patches, which stays where all patches are hidden).
    """

    name: str
    family: Family
    class_sensitive: bool
    signed: bool
    forwards: int
    backwards: int
    reference: str
    summary: str
    deterministic: bool = True
    layers: bool = False
    complete: bool = False
    needs: ModelNeed = "pixels"


Needs = Literal["perturbation", "map", "mask", "clicks", "class", "method"]
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class MetricFacts:
    """What a metric measures and which way it points.

    Args:
        name: Registry name.
        higher_is_better: Direction.
        range: Smallest and largest possible value under the metric's own definition; None where unbounded.
            A curve's area is bounded by its value: [0, 1] only for probability and accuracy.
        reference: Paper, with arXiv id.
        summary: One sentence.
        needs: What it is computed from: "perturbation" (perturbed forwards of the classifier, through the
            stream), "map" (relevance alone), "mask" (relevance and a mask of the truth), "clicks"
            (relevance and points of the truth), "class" (maps of two classes), "method" (a callable that
            explains).
        against_random: Whether a random map's score is what a map must beat; False where a random map is
            extreme by construction, so that beating it says nothing.
    """

    name: str
    higher_is_better: bool
    range: Bounds
    reference: str
    summary: str
    needs: Needs
    against_random: bool = True


CHOICES: dict[str, tuple[str, ...]] = {
    "unit": ("patch", "pixel", "segment"),
    "images": ("all", "correct"),
    "ties": ("random", "stable"),
    "sign": ("signed", "absolute", "positive"),
    "upsampling": ("nearest", "bilinear"),
    "value": ("margin", "probability", "logit", "accuracy"),
    "target": ("predicted", "label"),
    "auc": ("trapezoid", "uniform", "mean", "unnormalised"),
}
"""What a protocol may say."""


@dataclass(frozen=True)
class Catalogue:
    """This package's own methods and metrics.

    Args:
        methods: By name.
        options: Method → its options and their defaults.
        presets: Name → method, and all its options.
        metrics: By name.
    """

    methods: Mapping[str, MethodInfo]
    options: Mapping[str, Mapping[str, Any]]
    presets: Mapping[str, tuple[str, Mapping[str, Any]]]
    metrics: Mapping[str, MetricFacts]


FILE = Path(__file__).with_suffix(".json")


@cache
def catalogue() -> Catalogue:
    """What `catalogue.json` holds."""
    content = json.loads(FILE.read_text("utf-8"))
    return Catalogue(
        methods={one["name"]: MethodInfo(**one) for one in content["methods"]},
        options=content["options"],
        presets={name: (one["method"], one["options"]) for name, one in content["presets"].items()},
        metrics={
            one["name"]: MetricFacts(**one | {"range": tuple(one["range"])}) for one in content["metrics"]
        },
    )
