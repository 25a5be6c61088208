"""What a survey found, in sentences and tables: those of its page and of its Markdown."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xai.core.language import gettext, joined, language, ngettext, pgettext
from xai.core.names import method_in_words
from xai.report.face_parts import part_name
from xai.report.tables import (
    Column,
    Table,
    decimals,
    line,
    markdown_table,
    numeric,
    table,
)
from xai.report.text import percent
from xai.stats import map_agreement
from xai.stats.survey import FarImage, MapContrast, MeanMap, PairAgreement, Survey, SurveySection

MOST_LISTED = 10  # excluded images per reason


def survey_markdown(survey: Survey, lang: str | None = None) -> str:
    """A survey as Markdown, in a language or in the current one."""
    with language(lang):
        return "\n\n".join(block for block in _blocks(survey) if block) + "\n"


def _blocks(survey: Survey) -> Iterator[str]:
    yield f"# {survey.name}"
    yield counts(survey)
    yield "\n".join(f"- {one}" for one in notes(survey))
    yield markdown_table(answers_table(survey))
    for section in survey.sections:
        yield f"## {section_title(section)} (`{section.method}`)"
        yield joined([frame_note(section), *(contrast_note(one, survey.alpha) for one in section.contrasts)])
        for one in section_tables(section):
            yield markdown_table(one)
    if survey.agreement:
        yield f"## {gettext('Agreement of methods')}"
        yield markdown_table(agreement_table(survey.agreement))
    yield f"## {gettext('Provenance')}"
    yield markdown_table(provenance_table(survey.provenance))
    yield f"## {gettext('Exclusions')}"
    yield markdown_table(exclusions_table(survey)) if survey.exclusions else pgettext("exclusions", "None.")


def counts(survey: Survey) -> str:
    """How much it is about."""
    done, total = survey.units
    unfinished = gettext("Unfinished: {done} of {total} items.", done=done, total=total)
    said = gettext(
        "{used} of {images}, {groups}.",
        used=survey.used,
        images=ngettext("{n} image", "{n} images", survey.images),
        groups=ngettext("{n} group", "{n} groups", survey.groups),
    )
    return joined([said, "" if done == total else unfinished])


def notes(survey: Survey) -> list[str]:
    """What a reader must know of every number."""
    target = {
        "predicted": gettext("Maps explain the class that the model says: what speaks for its own answer."),
        "label": gettext("Maps explain the true class of each image."),
    }.get(
        survey.target,
        gettext("All maps explain the class {label}, whatever the answer.", label=survey.target),
    )
    return [
        target,
        how_normalised(),
        gettext(
            "Images of one group are not independent: intervals and tests resample or leave out whole groups."
        ),
    ]


def how_normalised() -> str:
    """What the values of mean maps mean."""
    return gettext(
        "Each map is divided by its mean absolute relevance, so that every image counts the same: 1 is "
        "what evenly spread relevance would give, 2 twice as much; negative values speak against the "
        "class."
    )


def section_title(section: SurveySection) -> str:
    """The method, and the frame where it matters."""
    if section.frame == "face":
        return gettext("{method}, on the canonical face", method=method_in_words(section.method))
    return gettext("{method}, on the model's input", method=method_in_words(section.method))


def frame_note(section: SurveySection) -> str:
    """What maps are laid over each other in."""
    if section.frame == "face":
        outside = section.maps[0].outside if section.maps else 0.0
        text = gettext(
            "Maps are turned, scaled and moved to one canonical face by five points of each image; the "
            "model's input leaves {share} of that frame open, which counts as no relevance.",
            share=percent(outside),
        )
    else:
        text = gettext(
            "No landmarks are known, or none were asked for: maps lie over each other as the model saw the "
            "images (crop frame). Only where all images are aligned crops is one place one part of the face."
        )
    blank = ngettext(
        "{n} map without any relevance is in no mean.",
        "{n} maps without any relevance are in no mean.",
        section.blank,
    )
    return joined([text, blank if section.blank else ""])


def contrast_title(one: MapContrast) -> str:
    """What is subtracted from what."""
    text = {
        "label": gettext("Label {first} − {second}", first=one.first, second=one.second),
        "predicted": gettext("Answer {first} − {second}", first=one.first, second=one.second),
    }.get(one.of, gettext("{first} − {second}", first=one.first, second=one.second))
    return text if one.label is None else gettext("{text}, label {label}", text=text, label=one.label)


def contrast_note(one: MapContrast, alpha: float) -> str:
    """Where the two differ, and by which test."""
    if one.p is None:
        return gettext(
            "{title}: not tested (too few: {groups}; or one side has no image without one of them).",
            title=contrast_title(one),
            groups=ngettext("{n} group", "{n} groups", one.blocks),
        )
    return gettext(
        "{title}: {n} of {total} places differ (p < {alpha} after Benjamini and Hochberg, jackknife over "
        "{groups}).",
        title=contrast_title(one),
        n=int((one.p < alpha).sum()),
        total=one.p.size,
        alpha=f"{alpha:g}",
        groups=ngettext("{n} group", "{n} groups", one.blocks),
    )


def map_title(one: MeanMap | FarImage) -> str:
    """Of which images."""
    said = []
    if one.label is not None:
        said.append(gettext("label {label}", label=one.label))
    if one.predicted is not None:
        said.append(gettext("answer {label}", label=one.predicted))
    if one.kind is not None:
        said.append(gettext("kind {kind}", kind=one.kind))
    return gettext(", ").join(said) or gettext("all images")


def section_tables(section: SurveySection) -> list[Table]:
    """Maps in numbers, shares of face parts, the farthest images."""
    tables = [maps_table(section), parts_table(section), farthest_table(section)]
    return [one for one in tables if one is not None]


def maps_table(section: SurveySection) -> Table | None:
    """How many images are behind each mean map, and how it lies to that of all."""
    if not section.maps:
        return None
    columns = [
        gettext("images of"),
        Column(gettext("images")),
        Column(gettext("groups")),
        Column(gettext("like all"), note=gettext("Spearman's correlation with the mean map of all images")),
        Column(gettext("spread"), note=gettext("standard deviation over images, mean of all places")),
    ]
    overall = section.maps[0].mean.ravel()
    lines = []
    for one in section.maps:
        alike = float(map_agreement(np.stack([overall, one.mean.ravel()]))[0, 1])
        lines.append(
            line(
                [
                    map_title(one),
                    numeric(one.images, lambda value: f"{value:.0f}"),
                    numeric(one.groups, lambda value: f"{value:.0f}"),
                    numeric(alike, decimals(2)),
                    numeric(float(one.spread.mean()), decimals(2)),
                ]
            )
        )
    return table(gettext("Mean maps"), columns, lines)


def parts_table(section: SurveySection) -> Table | None:
    """Shares of face parts beside those of their area."""
    if not section.parts:
        return None
    columns = [
        gettext("part"),
        gettext("images of"),
        gettext("relevance"),
        Column(gettext("images")),
        Column(gettext("share")),
        gettext("interval"),
        Column(gettext("area"), note=gettext("what evenly spread relevance would give")),
        Column(gettext("share / area")),
    ]
    lines = [
        line(
            [
                part_name(one.part),
                images_of(one.label),
                signs()[one.sign],
                numeric(one.images, lambda value: f"{value:.0f}"),
                numeric(one.share, percent),
                interval(one.low, one.high, percent),
                numeric(one.area, percent),
                numeric(one.share / one.area if one.area else np.nan, decimals(2)),
            ]
        )
        for one in section.parts
    ]
    return table(gettext("Shares of face parts"), columns, lines)


def farthest_table(section: SurveySection) -> Table | None:
    """The images whose maps lie farthest from the mean of their kind."""
    if not section.farthest:
        return None
    columns = [
        gettext("image"),
        gettext("group"),
        gettext("images of"),
        Column(gettext("peers"), note=gettext("images of the same label, answer and kind")),
        Column(
            gettext("distance"),
            note=gettext(
                "half the summed absolute difference to their mean map, both divided by their summed "
                "absolute relevance: 0 the same, 1 nothing in common"
            ),
        ),
    ]
    lines = [
        line(
            [
                one.image,
                one.group,
                map_title(one),
                numeric(one.peers, lambda value: f"{value:.0f}"),
                numeric(one.distance, decimals(2)),
            ]
        )
        for one in section.farthest
    ]
    return table(gettext("Farthest from the mean of their kind"), columns, lines)


def answers_table(survey: Survey) -> Table:
    """What the model said, by label and kind."""
    columns = [
        gettext("images of"),
        *(Column(gettext("answer {label}", label=label)) for label in survey.labels),
    ]
    lines = []
    for one in survey.answers:
        said = [gettext("label {label}", label=one.label)] if one.label is not None else []
        said += [gettext("kind {kind}", kind=one.kind)] if one.kind is not None else []
        title = gettext(", ").join(said) or gettext("unknown")
        numbers = [
            numeric(one.answers.get(label, 0), lambda value: f"{value:.0f}") for label in survey.labels
        ]
        lines.append(line([title, *numbers]))
    return table(gettext("What the model said"), columns, lines)


def agreement_table(found: Sequence[PairAgreement]) -> Table:
    """Correlations of two maps of the same image."""
    columns = [
        gettext("maps"),
        gettext("images of"),
        Column(gettext("images")),
        Column(gettext("Spearman"), note=gettext("mean over images")),
        gettext("interval"),
    ]
    lines = [
        line(
            [
                gettext(
                    "{first} and {last}", first=method_in_words(one.first), last=method_in_words(one.second)
                ),
                images_of(one.label),
                numeric(one.images, lambda value: f"{value:.0f}"),
                numeric(one.mean, decimals(2)),
                interval(one.low, one.high, decimals(2)),
            ]
        )
        for one in found
    ]
    return table(gettext("Rank correlation of two maps of one image"), columns, lines)


def provenance_table(session: Mapping[str, Any]) -> Table:
    """Model, device and versions of the last session."""
    model = session.get("model", {})
    versions = ", ".join(f"{name} {number}" for name, number in session.get("versions", {}).items())
    rows = [
        (gettext("model"), f"{model.get('name')}, {str(model.get('fingerprint'))[:16]}"),
        (gettext("device"), f"{session.get('device')}, {session.get('dtype')}"),
        (gettext("seed"), str(session.get("seed"))),
        (gettext("last session"), f"{session.get('start')} … {session.get('end') or gettext('not ended')}"),
        (gettext("versions"), versions),
    ]
    return table(gettext("How the numbers came about"), [gettext("what"), gettext("value")], rows)


def exclusions_table(survey: Survey) -> Table:
    """What is missing, by reason."""
    counted = Counter((one.method, one.reason) for one in survey.exclusions)
    lines = []
    for (method, reason), count in counted.most_common():
        names = [one.image for one in survey.exclusions if (one.method, one.reason) == (method, reason)]
        which = gettext(", ").join(names[:MOST_LISTED])
        if count > MOST_LISTED:
            which = gettext("{names} and {n} more", names=which, n=count - MOST_LISTED)
        lines.append([str(count), method_in_words(method), reason, which])
    header = [gettext("images"), gettext("method"), gettext("reason"), gettext("which")]
    return table(gettext("What is missing, and why"), header, lines)


def interval(low: float, high: float, write: Callable[[float], str]) -> str:
    """The ends of an interval; nothing where there is none."""
    return f"{write(low)} … {write(high)}" if np.isfinite(low) else ""


def signs() -> dict[str, str]:
    """Which relevance, as tables name it."""
    return {"positive": gettext("for the class"), "negative": gettext("against the class")}


def images_of(label: str | None) -> str:
    """Which images, by their true class."""
    return gettext("all images") if label is None else gettext("label {label}", label=label)
