"""Stability in words, in a picture and on the evidence sheet: the only place that makes sentences of it."""

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np

from xai.core import Explanation
from xai.core.language import gettext, gettext_noop, joined, listed, ngettext
from xai.core.order import TOP
from xai.data.degradations import UPLOAD_QUALITY, UPLOAD_SIDE, Degradation
from xai.report import words
from xai.report.colours import ColourScale
from xai.report.encode import finite
from xai.report.image_payload import DegradedImage, Stability
from xai.report.layout import Panel, arrange, compose
from xai.report.overlay import DrawnImage, close_view
from xai.report.picture import Picture
from xai.report.pictures import original_layer, overlay_layer
from xai.report.tables import decimals
from xai.report.text import drawable_language, percent
from xai.stats.stability import DegradationSummary, Degraded, ImageStability, Interval, Steadiness
from xai.stats.words import signed

hundredths = decimals(2)
VERDICTS = {
    Steadiness.KEPT: gettext_noop("same map"),
    Steadiness.SHIFTED: gettext_noop("map changed"),
    Steadiness.LOST: gettext_noop("as unlike as another image's"),
    Steadiness.UNCLEAR: gettext_noop("unclear"),
    Steadiness.TOO_FEW: gettext_noop("too few images to tell"),
    Steadiness.NOT_COMPARED: gettext_noop("constant map, not compared"),
}
OF_IMAGE = {
    Steadiness.KEPT: gettext_noop("The map stays the same after {names}."),
    Steadiness.SHIFTED: gettext_noop(
        "It changes, but is still more like itself than like others, after {names}."
    ),
    Steadiness.LOST: gettext_noop("It is no more like itself than like maps of other images after {names}."),
    Steadiness.NOT_COMPARED: gettext_noop("A constant map has no order to compare: {names}."),
}
OF_ALL = {
    Steadiness.KEPT: gettext_noop("Maps stay the same after {names}."),
    Steadiness.SHIFTED: gettext_noop(
        "They change, but are still more like themselves than like others, after {names}."
    ),
    Steadiness.LOST: gettext_noop("They cannot be told from maps of other images after {names}."),
    Steadiness.UNCLEAR: gettext_noop(
        "Whether they stay is unclear after {names}: the interval covers the half-way mark."
    ),
    Steadiness.TOO_FEW: gettext_noop("Too few images, or groups of them, to say it of all after {names}."),
    Steadiness.NOT_COMPARED: gettext_noop("Constant maps have no order to compare: {names}."),
}


def title(degradation: Degradation) -> str:
    """`JPEG 80`, `resize to 50%`, `noise of 4 grey levels`, `two uploads`."""
    if degradation.kind == "jpeg":
        return gettext("JPEG {quality}", quality=f"{degradation.level:g}")
    if degradation.kind == "resize":
        return gettext("resize to {share}", share=f"{degradation.level:.0%}")
    if degradation.kind == "noise":
        return gettext("noise of {std} grey levels", std=f"{degradation.level:g}")
    return gettext("two uploads")


def explained(degradations: Sequence[Degradation]) -> str:
    """What the names mean."""
    sentences = []
    kinds = {one.kind for one in degradations}
    if "jpeg" in kinds:
        sentences.append(
            gettext("JPEG: saved with this quality and colours at half resolution, and read again.")
        )
    if "resize" in kinds:
        sentences.append(gettext("Resize: made so much smaller and enlarged again."))
    if "upload" in kinds:
        sentences.append(
            gettext(
                "Two uploads: brought to {side} pixels at the most and saved as JPEG {quality}, and once "
                "more, as sites and messengers do; no one of them in particular.",
                side=UPLOAD_SIDE,
                quality=UPLOAD_QUALITY,
            )
        )
    return joined(sentences)


def least_agreement(found: Stability) -> float | None:
    """Least rank correlation of a map with that of the image as it is; None if none is known."""
    return min((one.spearman for one in found.degraded if one.spearman is not None), default=None)


def verdict_words(verdict: Steadiness) -> str:
    """A word or two for a table."""
    return gettext(VERDICTS[verdict])


def sentences_of_image(image: ImageStability, ladder: Sequence[Degradation]) -> list[str]:
    """What the degradations do to one image: answer, map, and what that is measured against."""
    titles, flips = {one.name: title(one) for one in ladder}, image.flips
    found: dict[Steadiness, list[str]] = {}
    for change in image.changes:
        found.setdefault(image.verdict(change), []).append(titles[change.degradation])
    answer = (
        gettext(
            "The model predicts another class than {label} after {names}.",
            label=words.short(image.predicted),
            names=_names([titles[name] for name in flips], ladder),
        )
        if flips
        else gettext(
            "The model predicts {label} after every degradation.", label=words.short(image.predicted)
        )
    )
    maps = [
        gettext(OF_IMAGE[which], names=_names(found[which], ladder)) for which in OF_IMAGE if which in found
    ]
    return [answer, *maps, *_measured(image)]


def _names(titles: Sequence[str], ladder: Sequence[Degradation]) -> str:
    return gettext("every degradation") if len(titles) == len(ladder) > 1 else listed(titles)


def _measured(image: ImageStability) -> list[str]:
    unrelated = image.reference
    if not isfinite(unrelated.mean):
        return []
    return [
        ngettext(
            "Measured by rank correlation against the map of {n} other image: it agrees by {mean}.",
            "Measured by rank correlation against maps of {n} other images: they agree by {mean} on average, "
            "95 % of them by no more than {high}. A map is called the same from half-way to 1, here {half}.",
            unrelated.maps,
            mean=hundredths(unrelated.mean),
            high=hundredths(unrelated.high),
            half=hundredths((1 + unrelated.mean) / 2),
        )
    ]


def sentences_of_all(found: Sequence[DegradationSummary], ladder: Sequence[Degradation]) -> list[str]:
    """What the degradations do to many images."""
    titles = {one.name: title(one) for one in ladder}
    grouped: dict[Steadiness, list[str]] = {}
    for one in found:
        grouped.setdefault(one.verdict, []).append(titles[one.degradation])
    sentences = [
        gettext(OF_ALL[which], names=_names(grouped[which], ladder)) for which in OF_ALL if which in grouped
    ]
    most = max(found, key=lambda one: one.flips, default=None)
    if most is not None:
        sentences.append(
            gettext(
                "Most answers change after {name}: another class on {n} of {total} images.",
                name=titles[most.degradation],
                n=most.flips,
                total=most.answered,
            )
            if most.flips
            else gettext("No answer changes to another class.")
        )
    return sentences


def reference_words(images: Sequence[ImageStability], photographs: int) -> str:
    """What the agreement of many images is measured against.

    Args:
        images: With their references.
        photographs: Of this package, explained because there were too few other images.
    """
    known = [one.reference for one in images if isfinite(one.reference.mean)]
    if not known:
        return ""
    measured = gettext(
        "Agreement is a rank correlation with the map of the image as it is. Maps of other images agree with "
        "it by {mean} on average, 95 % of them by no more than {high}: a map is called the same from "
        "half-way to 1, about {half}.",
        mean=hundredths(float(np.mean([one.mean for one in known]))),
        high=hundredths(float(np.mean([one.high for one in known]))),
        half=hundredths(float(np.mean([(1 + one.mean) / 2 for one in known]))),
    )
    added = ngettext(
        "Too few other images are there, so {n} photograph of this package counts among them.",
        "Too few other images are there, so {n} photographs of this package count among them.",
        photographs,
    )
    return joined([measured, added if photographs else ""])


def interval_words(value: Interval, *, sign: bool = False) -> str:
    """`0.61 [0.53, 0.67]`."""
    if not isfinite(value.mean):
        return "–"
    number = signed if sign else hundredths
    if value.low is None or value.high is None:
        return number(value.mean)
    return f"{number(value.mean)} [{number(value.low)}, {number(value.high)}]"


def stability_of(image: ImageStability, ladder: Sequence[Degradation]) -> Stability:
    """What a page holds of it."""
    titles = {one.name: title(one) for one in ladder}
    return Stability(
        target=image.target,
        probability=finite(image.probability),
        margin=image.margin,
        unrelated=finite(image.reference.mean),
        unrelated_high=finite(image.reference.high),
        others=image.reference.maps,
        top=TOP,
        verdict=image.worst.value,
        sentences=[*sentences_of_image(image, ladder), explained(ladder)],
        degraded=[
            DegradedImage(
                name=one.degradation,
                title=titles[one.degradation],
                spearman=one.spearman,
                overlap=one.overlap,
                probability=finite(one.probability),
                margin=one.margin,
                predicted=one.predicted,
                verdict=image.verdict(one).value,
                said=verdict_words(image.verdict(one)),
            )
            for one in image.changes
        ],
    )


@drawable_language()
def draw_stability(
    explanation: Explanation,
    maps: Mapping[str, np.ndarray],
    image: ImageStability,
    ladder: Sequence[Degradation],
) -> Picture:
    """The map of an image as it is, and after each degradation, on one scale, with the agreement.

    Args:
        explanation: Of the image as it is.
        maps: Degradation → (rows, cols) map of the class followed.
        image: The numbers.
        ladder: The degradations.
    """
    clean = explanation.maps[image.target]
    signed_maps = ColourScale.of([clean, *maps.values()]).signed
    drawn = DrawnImage(explanation, close_view(explanation), 480)
    panels = [
        Panel(gettext("original"), original_layer(drawn), words.titled(explanation, explanation.predicted)),
        _panel(drawn, gettext("map as it is"), clean),
    ]
    by_name = {one.degradation: one for one in image.changes}
    panels += [_panel(drawn, title(one), maps[one.name], _note(image, by_name[one.name])) for one in ladder]
    caption = [
        *sentences_of_image(image, ladder),
        explained(ladder),
        joined(
            [
                gettext(
                    "Every map lies over the image as it is and has its own scale, up to its strongest "
                    "patch: compare where the evidence lies, not how strong it is."
                ),
                words.colours(ColourScale(1, signed_maps), words.short(image.target)),
            ]
        ),
        gettext(words.LIMITS),
        words.made_by(explanation),
    ]
    subject = gettext("evidence for {label} when the picture gets worse", label=words.short(image.target))
    heading = f"{words.name(explanation)} · {subject}"
    return compose(heading, words.verdict(explanation), arrange(panels, (6, 4, 3)), caption)


def _panel(drawn: DrawnImage, name: str, values: np.ndarray, note: str = "") -> Panel:
    return Panel(
        name, overlay_layer(drawn, values, ColourScale.of([values])), note, stamp=words.stamp(values)
    )


def _note(image: ImageStability, change: Degraded) -> str:
    parts = [verdict_words(image.verdict(change))]
    if change.spearman is not None and change.overlap is not None:
        parts.append(
            gettext(
                "agreement {rho}, strongest tenth {share}",
                rho=hundredths(change.spearman),
                share=f"{change.overlap:.0%}",
            )
        )
    known = isfinite(change.probability)
    parts.append(f"{words.short(image.target)} {percent(change.probability)}" if known else change.predicted)
    return " · ".join(parts)
