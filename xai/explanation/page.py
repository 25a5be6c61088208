"""From explanations to a page: what has to be asked of the model again, and where everything comes from."""

from dataclasses import asdict
from hashlib import sha256
from typing import Any

from torch import Tensor

from xai.attr import METHODS
from xai.attr.layers import presets_of, resolve_layers
from xai.core import DataError, Explanation, ModelError, UsageError
from xai.core.language import gettext
from xai.explanation.comparison import MethodComparison
from xai.explanation.explainer import Explainer, OutOfMemoryError
from xai.explanation.inputs import prepare
from xai.explanation.removal import RemovalCheck, class_of
from xai.explanation.stability import StabilityCheck
from xai.models import Classifier
from xai.models.provenance import provenance
from xai.report.about import card_of, model_description
from xai.report.explanations import compared_image, comparison_page, explanation_page, image_of
from xai.report.image_payload import FaceEvidence, Image
from xai.report.payload import Card, Fusion, Page, PageMethod
from xai.report.stability import least_agreement, stability_of
from xai.stats.stability import ImageStability

MOST_WITH_LAYERS = 50  # images of a page in which layers and heads travel


class PageBuilder:
    """Makes a page's images one by one, so that no photograph is kept.

    Layers and heads travel in pages of at most 50 images, of methods that are fused from them.

    Args:
        explainer: Made the explanations.
        total: Images that will come at the most.
        stability: Whether each image is explained again after ten degradations, for its evidence sheet.
    """

    def __init__(self, explainer: Explainer, total: int, stability: bool = False):
        self.explainer = explainer
        self._stability = StabilityCheck(explainer) if stability else None
        self._stable: dict[int, ImageStability] = {}
        self.total = total
        self.images: list[Image] = []
        self._layered = explainer.method.fusion is not None
        self._depth: int | None = None
        self._check = RemovalCheck(explainer.classifier, explainer.seed)

    def add(self, explanation: Explanation, evidence: FaceEvidence | None = None) -> None:
        """Turn an explanation, and its evidence by parts of the face, into what the page holds of it.

        Raises:
            ModelError: The model cannot answer for this image any more.
        """
        explainer, caveats = self.explainer, []
        pixels = prepare(explainer.classifier, explanation.sample).pixels
        products = {}
        if self._layered and self.total <= MOST_WITH_LAYERS:
            try:
                found = {name: explainer.layer_maps(explanation, name) for name in explanation.maps}
                products = {name: values.numpy() for name, values in found.items()}
                self._depth = len(next(iter(products.values())))
            except OutOfMemoryError:
                caveats.append(
                    gettext("Layers and heads are left out: all of them at once do not fit into memory.")
                )
            except UsageError:
                caveats.append(
                    gettext("Layers and heads are left out: layers differ in their number of heads.")
                )
        followed = explanation.followed
        target = class_of(explainer.targets.target_of(followed))
        removals, failed = self._check(pixels, target, {explanation.method: explanation.maps[followed]})
        self.images.append(
            image_of(
                explanation,
                products=products,
                removals=removals,
                input_hash=input_hash(pixels),
                caveats=[*caveats, *failed, *(evidence.caveats if evidence else ())],
                face_parts=evidence,
            )
        )
        if self._stability is not None:
            self._add_stability(explanation, self._stability)

    def page(self, title: str | None = None) -> Page:
        """The page of the images so far; its heading says what was explained if nothing else is given."""
        explainer, name = self.explainer, self.explainer.method_name
        images = list(self.images)
        if self._stability is not None and self._stable:
            measured = self._stability.with_references(list(self._stable.values()), explainer.seed)
            for place, found in zip(self._stable, measured, strict=True):
                stability = stability_of(found, self._stability.ladder)
                steadiness = least_agreement(stability)
                images[place] = images[place].model_copy(
                    update={"stability": stability, "steadiness": steadiness}
                )
        settings: dict[str, Any] = {
            "settings": {
                "preset": explainer.preset,
                "method": name,
                "options": dict(explainer.options),
                "classes": [label for label, _ in explainer.targets.chosen]
                or "the two most probable of each image",
                "seed": explainer.seed,
                "batch_size": explainer.batch_size,
            }
        }
        if self._layered and self.total > MOST_WITH_LAYERS:
            settings["layers_and_heads"] = f"left out: more than {MOST_WITH_LAYERS} images"
        return explanation_page(
            images,
            labels=explainer.classifier.labels,
            problem_type=explainer.classifier.problem_type,
            method=PageMethod(
                name=name, method=name, options=dict(explainer.options), preset=explainer.preset
            ),
            title=title,
            model=model_description(explainer.model_description),
            provenance=settings | self._check.describe() | provenance_of(explainer.classifier),
            cards=[method_card(name)],
            fusion=self._fusion(),
            asked=max(self.total, len(self.images)),  # a photograph may have several faces
        )

    def _add_stability(self, explanation: Explanation, check: StabilityCheck) -> None:
        try:
            self._stable[len(self.images) - 1] = check(explanation).image
        except (DataError, ModelError) as error:
            untried = gettext(
                "Whether the map holds when the picture gets worse could not be tried: {reason}",
                reason=error.message,
            )
            image = self.images[-1]
            self.images[-1] = image.model_copy(update={"caveats": [*image.caveats, untried]})

    def _fusion(self) -> Fusion | None:
        fusion = self.explainer.method.fusion
        if self._depth is None or fusion is None:
            return None
        chosen = {
            "row": self.explainer.method_name,
            "layers": resolve_layers(fusion.layers, self._depth),
            "presets": presets_of(self._depth),
        }
        return Fusion.model_validate(asdict(fusion) | chosen)


def page_of_comparison(
    comparison: MethodComparison, classifier: Classifier, title: str | None = None
) -> Page:
    """The page of a comparison; all methods share the random draws of an image.

    Args:
        comparison: At least one image was explained.
        classifier: What was explained.
        title: Heading of the page; default what was compared, and how it was judged.
    """
    label, first = comparison.label, comparison.rows[0]
    methods = [
        PageMethod(
            name=name,
            method=found.method,
            control=_control(found.method),
            options=dict(found.options),
            preset=found.preset,
        )
        for name, found in first.items()
    ]
    controls = [one.name for one in methods if one.control]
    check = RemovalCheck(classifier, comparison.seed)
    images = []
    for explanations in comparison.rows:
        pixels = prepare(classifier, next(iter(explanations.values())).sample).pixels
        maps = {name: found.maps[label] for name, found in explanations.items()}
        removals, failed = check(pixels, class_of(comparison.target), maps)
        images.append(
            compared_image(
                explanations,
                removals=removals,
                controls=controls,
                input_hash=input_hash(pixels),
                caveats=failed,
            )
        )
    settings = {
        "methods": {one.name: one.options for one in methods},
        "class": label,
        "seed": comparison.seed,
    }
    return comparison_page(
        images,
        labels=classifier.labels,
        problem_type=classifier.problem_type,
        methods=methods,
        label=label,
        title=title,
        model=model_description(classifier.describe()),
        provenance={"settings": settings} | check.describe() | provenance_of(classifier),
        cards=[method_card(name) for name in dict.fromkeys(one.method for one in methods)],
        asked=len(comparison.rows) + len(comparison.failures),
    )


def provenance_of(classifier: Classifier) -> dict[str, Any]:
    """Versions, machine and preprocessing, JSON-ready."""
    steps = classifier.preprocessing
    return provenance(classifier) | {"preprocessing": None if steps is None else steps.describe()}


def method_card(name: str) -> Card:
    """The card of a registered method."""
    return card_of(METHODS[name].info)


def input_hash(pixels: Tensor) -> str:
    """Digest of the preprocessed pixels, as records of a benchmark hold it."""
    return sha256(pixels.numpy().tobytes()).hexdigest()[:16]


def _control(name: str) -> bool:
    return METHODS[name].info.family == "control"
