"""The use case: many images, each explained again as the picture gets worse, and what is said of all."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import xai.report as report
from xai.core import DataError, Explanation, ModelError, Sample
from xai.core.csv_table import inert
from xai.core.files import write_bytes, write_json
from xai.core.runtime import versions
from xai.explanation.explainer import Explainer
from xai.explanation.faces import FaceFinder
from xai.explanation.inputs import BoxOf, Failure, Found, read_samples
from xai.explanation.stability import StabilityCheck, StabilityResult
from xai.report.stability import draw_stability, sentences_of_all, sentences_of_image
from xai.stats import to_json
from xai.stats.stability import DegradationSummary, ImageStability, summarise_stability

SCHEMA = "xai.robustness/1"
PICTURES = 20  # images whose ladder is drawn where nothing else is said
DRAWN = 640  # longest side in pixels of an image that waits to be drawn


@dataclass(frozen=True, eq=False)
class Robustness:
    """What became of maps and answers.

    Args:
        check: How it was found: explainer and degradations.
        images: In order, with what their maps were measured against.
        overall: Of each degradation.
        failures: Images that could not be explained, as they are or degraded.
        drawn: Of the first images what a picture needs.
        interrupted: Whether it was stopped (Ctrl-C) before the last image.
    """

    check: StabilityCheck
    images: Sequence[ImageStability]
    overall: Sequence[DegradationSummary]
    failures: Sequence[Failure]
    drawn: Sequence[StabilityResult]
    interrupted: bool = False


def robustness(
    explainer: Explainer,
    sources: Sequence[Found],
    *,
    box_of: BoxOf | None = None,
    faces: FaceFinder | None = None,
    pictures: int = PICTURES,
    step: Callable[[], object] = lambda: None,
) -> Robustness:
    """Explain images as they are and after every degradation.

    Of an image stay its numbers and maps, of the first ones a small copy for their pictures. Interrupted
    (Ctrl-C), it goes on with the images that it has.

    Args:
        explainer: Model, method and targets.
        sources: As `gather` lists them.
        box_of: Says which crop of an image to explain; the whole image is degraded.
        faces: Cuts out faces; the photograph is degraded, and the face cut out at the same place.
        pictures: Of so many images what is needed to draw them is kept.
        step: Called after each image, of several faces of a photograph after the first.

    Raises:
        ModelError: The model cannot be explained.
    """
    check = StabilityCheck(explainer)
    images: list[ImageStability] = []
    failures: list[Failure] = []
    drawn: list[StabilityResult] = []
    interrupted, whole = False, None
    samples = read_samples(sources, None, box_of, faces=faces is not None)
    try:
        for result in explainer.explain(samples if faces is None else faces(samples)):
            origin = None if isinstance(result, Failure) else result.sample.origin
            if isinstance(result, Failure):
                failures.append(result)
            else:
                try:
                    found = check(result)
                except (DataError, ModelError) as error:
                    failures.append(Failure(str(result.sample.path or result.sample.id), error))
                else:
                    images.append(found.image)
                    if len(drawn) < pictures:
                        drawn.append(replace(found, clean=_small(result)))
            if origin is None or origin.image is not whole:
                step()
            whole = origin and origin.image
    except KeyboardInterrupt:
        interrupted = True
    images = check.with_references(images, explainer.seed) if images else []
    drawn = [replace(one, image=image) for one, image in zip(drawn, images, strict=False)]
    overall = summarise_stability(images, seed=explainer.seed)
    return Robustness(check, images, overall, failures, drawn, interrupted)


def write_robustness(found: Robustness, out: Path) -> dict[str, Any]:
    """Write `robustness.json`, `robustness.csv` (a line per image and degradation) and a picture per image.

    Returns:
        What the JSON file holds; its `files` are relative to `out`.

    Raises:
        OutputError: A file cannot be written.
    """
    ladder = found.check.ladder
    files = {"table": "robustness.csv", "record": "robustness.json"}
    pictures = {}
    for one in found.drawn:
        pictures[one.image.id] = f"{one.image.id}_robustness.png"
        report.save(draw_stability(one.clean, one.maps, one.image, ladder), out / pictures[one.image.id])
    write_bytes(out / files["table"], _table(found).encode())
    content = record_of(found) | {"files": files | {"pictures": pictures}}
    write_json(out / files["record"], content)
    return content


def record_of(found: Robustness) -> dict[str, Any]:
    """Numbers, verdicts and sentences, JSON-ready."""
    explainer = found.check.explainer
    ladder = found.check.ladder
    return {
        "schema": SCHEMA,
        "degradations": [{"name": one.name, "kind": one.kind, "level": one.level} for one in ladder],
        "overall": [to_json(one) for one in found.overall],
        "sentences": sentences_of_image(found.images[0], ladder)
        if len(found.images) == 1
        else sentences_of_all(found.overall, ladder),
        "images": [
            to_json(image)
            | {
                "worst": image.worst.value,
                "verdicts": {one.degradation: image.verdict(one).value for one in image.changes},
                "flips": image.flips,
            }
            for image in found.images
        ],
        "failures": [{"image": one.name, "error": str(one.error)} for one in found.failures],
        "reference_photographs": found.check.further,
        "method": {"name": explainer.method_name, "options": dict(explainer.options)},
        "preset": explainer.preset,
        "seed": explainer.seed,
        "model": dict(explainer.model_description),
        "versions": versions(),
    }


def _table(found: Robustness) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([
        "image", "group", "class", "degradation", "agreement", "strongest_tenth", "unrelated", "place",
        "probability", "probability_clean", "margin", "margin_clean", "predicted", "predicted_clean",
        "verdict",
    ])  # fmt: skip
    for image in found.images:
        for one in image.changes:
            numbers = [
                *(one.spearman, one.overlap, image.reference.mean, image.place(one)),
                *(one.probability, image.probability, one.margin, image.margin),
            ]
            cells = ["" if value is None or not isfinite(value) else value for value in numbers]
            answers = [one.predicted, image.predicted, image.verdict(one).value]
            known = [image.id, image.group, image.target, one.degradation]
            writer.writerow(inert([*known, *cells, *answers]))
    return text.getvalue()


def _small(explanation: Explanation) -> Explanation:
    """The same with a small copy of its image, for its picture."""
    sample, geometry = explanation.sample, explanation.geometry
    factor = min(1.0, DRAWN / max(sample.image.size))
    if factor == 1:
        return replace(explanation, sample=replace(sample, origin=None))
    old = sample.image.size
    size = max(1, round(old[0] * factor)), max(1, round(old[1] * factor))
    across, down = size[0] / old[0], size[1] / old[1]
    left, top, right, bottom = geometry.box
    box = sample.box and (
        *(sample.box[0] * across, sample.box[1] * down),
        *(sample.box[2] * across, sample.box[3] * down),
    )
    return replace(
        explanation,
        sample=Sample(
            sample.id,
            sample.image.resize(size, Image.Resampling.BICUBIC),
            sample.path,
            sample.label,
            mask=None if sample.mask is None else _small_mask(sample.mask, size),
            box=box,
        ),
        geometry=replace(
            geometry,
            size=size,
            box=(left * across, top * down, right * across, bottom * down),
        ),
    )


def _small_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
