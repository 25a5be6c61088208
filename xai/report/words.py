"""What pictures and pages say about an explanation, in words."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from xai.core import Explanation, Geometry, Sample
from xai.core.classes import fakes_first
from xai.core.errors import printable
from xai.core.language import gettext, gettext_noop, ngettext
from xai.core.map_statistics import (
    NEAR_CONSTANT,
    SINK_RATIO,
    is_incomplete,
    is_near_constant,
    relative_range,
    sink_share,
    sinks_of,
)
from xai.report.colours import ColourScale
from xai.report.overlay import DrawnImage
from xai.report.text import number, percent, shorten

LISTED = 3  # labels named in a line
LIMITS = gettext_noop(
    "The maps show where the model's evidence lies; they do not prove that a region was tampered with."
)
MUCH = 0.1  # share of a map on sink tokens from which on a sentence says so
LITTLE = 0.5  # share of an image seen by the model below which its record says so
SQUASHED = 1.5  # change of aspect, to one decimal, above which a sentence says so: 3:2 to a square is spared


# memory and speed, not the map
UNSEEN_OPTIONS = frozenset({"internal_batch_size"})


def in_order(names: Sequence[str], classes: int) -> list[str]:
    """Maps or labels of a model with so many classes as they are shown: of two, fake before real."""
    if classes != 2:
        return list(names)
    return [*fakes_first(names[1::-1]), *names[2:]]


def seen_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that change a map: none of memory, and none that is off."""
    return {key: value for key, value in options.items() if key not in UNSEEN_OPTIONS and value is not None}


def name(explanation: Explanation) -> str:
    """File name of the image, or its id; of a face that was cut from it also its number."""
    return shorten(full_name(explanation.sample), 90)


def full_name(sample: Sample) -> str:
    """The same, however long it is."""
    path = sample.path
    if path is None:
        return face_named(sample, printable(sample.id))
    # of a video's frames only the folder tells which video it is
    frame = sample.group is not None and path.stem.isdecimal() and path.parent.name
    return face_named(sample, printable(f"{path.parent.name}/{path.name}" if frame else path.name))


def face_named(sample: Sample, image: str) -> str:
    """What a sample is called whose image is called that."""
    if sample.path is None or sample.origin is None or sample.origin.face is None:
        return image  # an id says the number itself
    return gettext("{name}, face {number}", name=image, number=sample.origin.number)


def short(label: str) -> str:
    """A class name that fits above a picture."""
    return shorten(printable(label), 48)


def verdict(explanation: Explanation) -> str:
    """What the model predicts, and the truth if it is known."""
    probabilities, labels = explanation.probabilities, explanation.predicted_labels
    names = labels or [explanation.predicted]
    named = [f"{short(name)} ({percent(probabilities[name])})" for name in names]
    words = [gettext("predicted: {labels}", labels=gettext(", ").join(named[:LISTED]))]
    if explanation.problem_type.independent:
        if len(labels) > LISTED:
            words = [gettext("{predicted} and {n} more", predicted=words[0], n=len(labels) - LISTED)]
        words.append(gettext("independent labels"))
        if not labels:
            words = [gettext("predicted: none"), gettext("likeliest: {label}", label=named[0])]
    if explanation.sample.label is not None:
        words.append(gettext("true class: {label}", label=short(explanation.sample.label)))
    return " · ".join(words)


def peak(values: np.ndarray, scale: ColourScale) -> str:
    """The strongest relevance of a map as a share of the common scale; nothing for a map that is zero."""
    if not values.any():
        return ""
    return gettext("peak {share} of scale", share=percent(float(scale.strength(values).max())))


def stamp(values: np.ndarray, what: str = "evidence") -> str:
    """Words over a map that is zero everywhere, else nothing.

    Args:
        values: The map.
        what: "evidence", or "difference" or "overlap" of two classes' maps.
    """
    if values.any():
        return ""
    return {
        "evidence": gettext("no evidence: the map is zero"),
        "difference": gettext("no difference: the map is zero"),
        "overlap": gettext("no overlap: the map is zero"),
    }[what]


def titled(explanation: Explanation, label: str) -> str:
    """The name of a map, with the probability if it is a class (it may be a contrast of two)."""
    probability = explanation.probabilities.get(label)
    return short(label) + ("" if probability is None else f": {percent(probability)}")


def method(explanation: Explanation, without: Collection[str] = ()) -> str:
    """Name of the method with its options, but those that a panel varies."""
    options = ", ".join(
        f"{key} {_plain(value)}"
        for key, value in seen_options(explanation.options).items()
        if key not in without
    )
    name = explanation.method + (f" ({options})" if options else "")
    if explanation.preset and not without:
        name = gettext("preset {preset}: {method}", preset=explanation.preset, method=name)
    return printable(name)


def made_by(explanation: Explanation, without: Collection[str] = ()) -> str:
    """Method, options and model, in a sentence."""
    name, model = method(explanation, without), explanation.model.get("name")
    if not model:
        return gettext("Method: {method}.", method=name)
    return gettext("Method: {method}. Model: {model}.", method=name, model=shorten(printable(str(model)), 80))


def colours(scale: ColourScale, subject: str) -> str:
    """What the colours of a map mean. `subject` names what the evidence is for."""
    if scale.signed:
        return gettext(
            "Orange speaks for {subject}, blue against it: the stronger the colour, the more.",
            subject=subject,
        )
    return gettext(
        "The brighter the colour, the more the patch speaks for {subject}; bare grey means little or none.",
        subject=subject,
    )


def sides(first: str, second: str) -> str:
    """What the two colours of the difference `first` − `second` mean."""
    return gettext(
        "blue: more for {second} · orange: more for {first}", second=short(second), first=short(first)
    )


def squashed(geometry: Geometry, size: tuple[int, int] | None) -> list[str]:
    """A sentence on an image whose aspect the preprocessing changed by more than `SQUASHED`, else nothing.

    Args:
        geometry: Where the model's input lies in the image.
        size: (height, width) of the input in any unit; None where it follows the image.
    """
    if size is None or round(change := geometry.aspect_change(size), 1) <= SQUASHED:
        return []
    left, top, right, bottom = geometry.box
    return [
        gettext(
            "The model saw this squashed: {original} pixels (width × height) became {input}, an aspect "
            "changed {change} times. A crop of the part that matters (--box x,y,w,h) keeps it.",
            original=f"{right - left:.0f}×{bottom - top:.0f}",
            input=f"{size[1]}×{size[0]}",
            change=f"{change:.1f}",
        )
    ]


def squashed_for(explanation: Explanation) -> list[str]:
    """`squashed`, of an explanation's image."""
    size = explanation.model.get("input_size")
    return squashed(explanation.geometry, None if size is None else (size[0], size[1]))


def seen_share(size: tuple[int, int], box: tuple[float, float, float, float]) -> float:
    """Share of an image of (width, height) pixels that lies in what the model was given."""
    (width, height), (left, top, right, bottom) = size, box
    across = max(0.0, min(right, width) - max(left, 0))
    down = max(0.0, min(bottom, height) - max(top, 0))
    return across * down / (width * height)


def cut(share: float) -> str:
    """That the rest of an image was cut off, which nobody asked for."""
    return gettext(
        "The model saw {share} of the image; what its preprocessing cut off had no say.", share=percent(share)
    )


def cut_for(explanation: Explanation) -> list[str]:
    """`cut`, where more than half of the image was: a panorama is judged by its middle."""
    share = seen_share(explanation.geometry.size, explanation.geometry.box)
    return [cut(share)] if share < LITTLE and explanation.sample.box is None else []


def sinks_for(explanation: Explanation, method: str | None = None) -> list[str]:
    """On a map of which much lies on sink tokens; the method is named where there are several."""
    sinks = sinks_of(explanation)
    shares = {name: sink_share(explanation, name) or 0.0 for name in explanation.maps}
    label = max(shares, key=lambda name: shares[name])
    if sinks is None or shares[label] < MUCH:
        return []
    row = short(label) if method is None else f"{short(label)} ({method})"
    return [
        ngettext(
            "{n} of {patches} patches is a sink token, more than {ratio} times as long as the median: it "
            "holds {share} of the relevance for {label}. Large models keep facts of the whole image in such "
            "tokens, so their relevance need not be about their place.",
            "{n} of {patches} patches are sink tokens, more than {ratio} times as long as the median: they "
            "hold {share} of the relevance for {label}. Large models keep facts of the whole image in such "
            "tokens, so their relevance need not be about their place.",
            int(sinks.sum()),
            patches=sinks.size,
            ratio=f"{SINK_RATIO:g}",
            share=percent(shares[label]),
            label=row,
        )
    ]


def near_constant(label: str, values: np.ndarray, method: str | None = None) -> list[str]:
    """A sentence on a map that is much the same everywhere, else nothing; it names a method that is given."""
    if not is_near_constant(values):
        return []
    share, limit = percent(relative_range(values)), percent(NEAR_CONSTANT)
    of = short(label) if method is None else f"{short(label)} ({method})"
    return [
        gettext(
            "The map for {label} is nearly constant: its patches differ by {share} of the largest value, "
            "less than "
            "{limit}, so its colours tell no patch from another.",
            label=of,
            share=share,
            limit=limit,
        )
    ]


def near_constant_for(explanation: Explanation, method: str | None = None) -> list[str]:
    """`near_constant`, of each map of an explanation."""
    maps = explanation.maps.items()
    return [sentence for label, values in maps for sentence in near_constant(label, values, method)]


def incomplete_for(explanation: Explanation, method: str | None = None) -> list[str]:
    """On each map that is far from what it should sum to; the method is named where there are several."""
    return [
        gettext(
            "The map for {label} sums to {total}, where the score changed by {change}: the method has missed "
            "much of what it should share out. Give it a finer path, or use another method.",
            label=short(name) if method is None else f"{short(name)} ({method})",
            total=number(float(explanation.maps[name].astype(float).sum())),
            change=number(explanation.score_changes[name]),
        )
        for name in explanation.maps
        if is_incomplete(explanation, name)
    ]


def conditions(
    explanation: Explanation, image: DrawnImage, methods: Mapping[str, Explanation] | None = None
) -> list[str]:
    """Sentences on the area drawn (crop, blind area, true mask, lost aspect) and doubtful maps; may be none.

    Args:
        explanation: The image, and its maps.
        image: How it is drawn.
        methods: By name, what else is drawn in place of its maps; the name is said with each.
    """
    sentences = []
    if image.outlined:
        sentences.append(gettext("White outline: the crop that the model was given."))
    if image.view is not None:
        sentences.append(gettext("The maps show this crop enlarged, with some of its surroundings."))
    if not image.sees_all:
        sentences.append(gettext("Dimmed and hatched: not seen by the model."))
    if explanation.sample.mask is not None:
        sentences.append(gettext("Turquoise outline: the area known to be tampered with."))
    if explanation.sample.clicks is not None:
        sentences.append(gettext("Turquoise circles: where people clicked on what was tampered with."))
    for method, one in ({None: explanation} if methods is None else methods).items():
        sentences += near_constant_for(one, method) + incomplete_for(one, method)
    return sentences + squashed_for(explanation)


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Nested options as (dotted name, text) pairs."""
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value)
