"""From explanations to what a page holds: each image at once, so that its pixels need not be kept."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from xai.core import Explanation, ProblemType
from xai.core.errors import printable
from xai.core.language import current_language
from xai.core.runtime import __version__
from xai.report import words
from xai.report.caveats import caveats_of
from xai.report.encode import encode_grid, encode_mask, encode_picture, encode_stack
from xai.report.face_parts import painted_face
from xai.report.headings import about_page
from xai.report.image_payload import Box, FaceEvidence, Image, MapAgreement, Photograph, Removal
from xai.report.overlay import close_view
from xai.report.payload import Card, Fusion, Page, PageMethod, Timeline
from xai.report.photograph import DrawnPhotograph
from xai.report.words import in_order
from xai.stats.agreement import disagreement, map_agreement

LONGEST = 480  # side of a picture in pixels
FACE = 320  # the same of a face with its parts
LISTED = 5  # classes with their probabilities


def image_of(
    explanation: Explanation,
    *,
    products: Mapping[str, np.ndarray] | None = None,
    removals: Sequence[Removal] = (),
    input_hash: str | None = None,
    caveats: Sequence[str] = (),
    face_parts: FaceEvidence | None = None,
) -> Image:
    """What a page holds of one explained image, under the name of the method.

    Args:
        explanation: One map per class.
        products: Class → (layers, heads, rows, cols): signed attention × gradient, or shares of a mask
            gradient.
        removals: What happened when the most relevant patches were removed.
        input_hash: Digest of the preprocessed pixels.
        caveats: Sentences to be added to those that the explanation itself gives rise to.
        face_parts: Evidence by parts of the face.

    Raises:
        DataError: A map holds NaN or infinity.
    """
    stacks = {label: encode_stack(values) for label, values in (products or {}).items()}
    return _image(
        {explanation.method: explanation},
        removals,
        (),
        caveats,
        input_hash,
        products=stacks,
        face_parts=_with_picture(face_parts, explanation),
    )


def compared_image(
    explanations: Mapping[str, Explanation],
    *,
    removals: Sequence[Removal] = (),
    controls: Collection[str] = (),
    input_hash: str | None = None,
    caveats: Sequence[str] = (),
) -> Image:
    """What a page holds of one image that several methods explained.

    Args:
        explanations: Method → explanation, all of one image and class.
        removals: What happened when the most relevant patches were removed.
        controls: Names of those that are no methods; they count for no disagreement.
        input_hash: Digest of the preprocessed pixels.
        caveats: Sentences to be added to those that the explanations themselves give rise to.

    Raises:
        DataError: A map holds NaN or infinity.
    """
    found = _agreement(explanations, controls) if len(explanations) > 1 else {}
    return _image(explanations, removals, controls, caveats, input_hash, **found)


def explanation_page(
    images: Sequence[Image],
    *,
    labels: Sequence[str],
    method: PageMethod,
    title: str | None = None,
    model: Mapping[str, Any],
    provenance: Mapping[str, Any],
    cards: Sequence[Card] = (),
    fusion: Fusion | None = None,
    asked: int | None = None,
    created: str | None = None,
    problem_type: ProblemType = ProblemType.SINGLE_LABEL,
    timeline: Timeline | None = None,
) -> Page:
    """A page of images explained by one method.

    Images may have been explained for different classes (each one's two most probable): `Page.classes` then
    holds all of them in order of appearance, and no two are compared.

    Args:
        images: From `image_of`.
        labels: All class names of the model.
        method: The method, and how the page names it.
        title: Heading of the page; default what was explained, and how it was judged.
        model: What was explained, JSON-ready.
        provenance: Where the maps come from, JSON-ready.
        cards: Of the method.
        fusion: How the maps are fused from layers and heads, if the images hold them.
        asked: Images asked for; default those shown.
        created: ISO 8601; default now.
        problem_type: What the model's logits mean.
        timeline: Of a video, whose frames the images are.
    """
    of_images = [list(image.maps[method.name]) for image in images]
    classes = list(dict.fromkeys(label for of_image in of_images for label in of_image))
    common = all(set(of_image) == set(classes) for of_image in of_images)
    classes = in_order(classes, len(labels)) if common and len(classes) > 1 else classes
    return _page(
        images,
        [method],
        labels=labels,
        title=title,
        model=model,
        created=created,
        problem_type=problem_type,
        asked=asked,
        timeline=timeline,
        kind="explanation",
        classes=classes,
        compared=(classes[0], classes[1]) if common and len(classes) > 1 else None,
        fusion=fusion,
        cards=list(cards),
        provenance=dict(provenance),
    )


def comparison_page(
    images: Sequence[Image],
    *,
    labels: Sequence[str],
    methods: Sequence[PageMethod],
    label: str,
    title: str | None = None,
    model: Mapping[str, Any],
    provenance: Mapping[str, Any],
    cards: Sequence[Card] = (),
    asked: int | None = None,
    created: str | None = None,
    problem_type: ProblemType = ProblemType.SINGLE_LABEL,
) -> Page:
    """A page of images explained by several methods.

    Args:
        images: From `compared_image`.
        labels: All class names of the model.
        methods: In order.
        label: The class or contrast that all maps are of.
        title: Heading of the page; default what was explained, and how it was judged.
        model: What was explained, JSON-ready.
        provenance: Where the maps come from, JSON-ready.
        cards: Of the methods.
        asked: Images asked for; default those shown.
        created: ISO 8601; default now.
        problem_type: What the model's logits mean.
    """
    return _page(
        images,
        methods,
        labels=labels,
        title=title,
        model=model,
        created=created,
        problem_type=problem_type,
        asked=asked,
        kind="comparison",
        classes=[label],
        cards=list(cards),
        provenance=dict(provenance),
    )


def _page(
    images: Sequence[Image],
    methods: Sequence[PageMethod],
    *,
    labels: Sequence[str],
    title: str | None,
    model: Mapping[str, Any],
    created: str | None,
    problem_type: ProblemType,
    asked: int | None,
    timeline: Timeline | None = None,
    **fields: Any,
) -> Page:
    created = created or now()
    about = about_page(
        images,
        labels,
        model.get("name"),
        created,
        problem_type=problem_type,
        methods=sum(not one.control for one in methods),
        timeline=timeline,
    )
    return Page(
        lang=current_language(),
        title=title or about,
        about=about,
        created=created,
        version=__version__,
        model=dict(model),
        labels=list(labels),
        problem_type=problem_type,
        rows=list(methods),
        shown=(len(images), len(images) if asked is None else asked),
        images=list(images),
        timeline=timeline,
        **fields,
    )


def _with_picture(evidence: FaceEvidence | None, explanation: Explanation) -> FaceEvidence | None:
    if evidence is None or not evidence.parts:
        return evidence
    picture = encode_picture(painted_face(explanation, FACE), FACE)
    return evidence.model_copy(update={"picture": picture})


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _image(
    explanations: Mapping[str, Explanation],
    removals: Sequence[Removal],
    controls: Collection[str],
    caveats: Sequence[str],
    input_hash: str | None,
    **fields: Any,
) -> Image:
    one = next(iter(explanations.values()))
    sample = one.sample
    maps = list(dict.fromkeys(label for found in explanations.values() for label in found.maps))
    width, height = sample.image.size
    view = close_view(one) or (0.0, 0.0, float(width), float(height))
    size = _drawn(view)
    mask = sample.mask
    notes = caveats_of(explanations, removals, controls)
    return Image(
        id=printable(sample.id),
        name=words.full_name(sample),
        group=sample.group,
        label=sample.label,
        target=maps[0] if len(maps) == 1 else None,
        predicted=one.predicted,
        predicted_labels=list(one.predicted_labels),
        probabilities=_probabilities(one, maps),
        width=width,
        height=height,
        sha256=_digest(sample.path),
        input_hash=input_hash,
        caveats=[*(note.text for note in notes), *caveats],
        notes=notes,
        view=view,
        seen=one.geometry.box,
        box=sample.box,
        # reducing_gap: a cheap first step spares the filter the pixels of a huge image
        picture=encode_picture(
            sample.image.resize(size, Pillow.Resampling.BICUBIC, view, reducing_gap=3.0), LONGEST
        ),
        photograph=_photograph(one),
        mask=None if mask is None else encode_mask(mask, size, _scaled(view, (width, height), mask.shape)),
        maps={
            name: {label: encode_grid(values) for label, values in found.maps.items()}
            for name, found in explanations.items()
        },
        removals=list(removals),
        **fields,
    )


def _photograph(explanation: Explanation) -> Photograph | None:
    origin = explanation.sample.origin
    if origin is None or origin.face is None:
        return None
    drawn = DrawnPhotograph(explanation, longest=LONGEST)
    small = _drawn((0, 0, *origin.image.size))
    picture = encode_picture(Pillow.fromarray(drawn.at(small).original), LONGEST)
    width, height = origin.image.size
    return Photograph(width=width, height=height, number=origin.number, picture=picture)


def _probabilities(explanation: Explanation, maps: Sequence[str]) -> dict[str, float]:
    """Of the most probable classes and of those explained, the largest first."""
    ranked = sorted(explanation.probabilities.items(), key=lambda item: -item[1])
    wanted = [*maps, explanation.sample.label] if explanation.problem_type.independent else maps
    return {name: share for place, (name, share) in enumerate(ranked) if place < LISTED or name in wanted}


def _drawn(view: Box) -> tuple[int, int]:
    """(width, height) of the picture of a view; never more pixels than the image has."""
    width, height = view[2] - view[0], view[3] - view[1]
    factor = min(1.0, LONGEST / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _scaled(view: Box, size: tuple[int, int], shape: tuple[int, ...]) -> Box:
    """A view of an image as a view of its mask, which may have another resolution."""
    across, down = shape[1] / size[0], shape[0] / size[1]
    return view[0] * across, view[1] * down, view[2] * across, view[3] * down


def _digest(path: Path | None) -> str | None:
    """SHA-256 of the file; None if there is none any more."""
    try:
        return None if path is None else sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _agreement(explanations: Mapping[str, Explanation], controls: Collection[str]) -> dict[str, Any]:
    maps = np.stack([np.ravel(next(iter(found.maps.values()))) for found in explanations.values()])
    found = map_agreement(maps)
    apart = disagreement(found, np.array([name not in controls for name in explanations]))
    return {
        "agreement": MapAgreement(
            rows=list(explanations),
            spearman=[[float(x) if np.isfinite(x) else None for x in line] for line in found],
        ),
        "disagreement": apart if np.isfinite(apart) else None,
    }
