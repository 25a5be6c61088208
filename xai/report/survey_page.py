"""A survey, or two that were compared, as one HTML file: opens from disk, loads nothing, runs no script."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup

from xai.core.language import HTML_CODES, current_language, gettext, joined, language, ngettext
from xai.core.names import method_in_words
from xai.core.runtime import __version__
from xai.data.face_parts import PARTS
from xai.report.about import prose_without_folders, without_folders
from xai.report.encode import digest
from xai.report.face_parts import part_name
from xai.report.page import TEMPLATES, content_policy, page_style
from xai.report.survey import (
    agreement_table,
    answers_table,
    contrast_note,
    counts,
    exclusions_table,
    frame_note,
    how_normalised,
    images_of,
    interval,
    map_title,
    notes,
    provenance_table,
    section_tables,
    section_title,
    signs,
)
from xai.report.survey_maps import differences, map_picture, strips
from xai.report.tables import Column, Table, line, markdown_table, numeric, table
from xai.report.text import number, percent
from xai.stats.survey import PartShare, Survey, SurveyComparison, SurveySection


def survey_page(survey: Survey, lang: str | None = None) -> str:
    """The page of a survey as text, in a language or in the current one."""
    survey = _sent_on(survey)
    with language(lang):
        tables = [provenance_table(survey.provenance)]
        tables += [exclusions_table(survey)] if survey.exclusions else []
        last = (
            [(gettext("Agreement of methods"), [agreement_table(survey.agreement)])]
            if survey.agreement
            else []
        )
        return _page(
            title=survey.name,
            counts=counts(survey),
            notes=notes(survey),
            tables=[answers_table(survey)],
            parts=[_part_chart(one) for one in survey.sections if one.parts],
            sections=[_section(one, survey.alpha) for one in survey.sections],
            last=[*last, (gettext("Provenance"), tables)],
        )


def comparison_page(found: SurveyComparison, lang: str | None = None) -> str:
    """The page of two surveys that were compared, in a language or in the current one."""
    with language(lang):
        section = {
            "title": gettext("Differences"),
            "given": "",
            "note": "",
            "contrasts": [contrast_note(one, found.alpha) for one in found.contrasts],
            "strips": [differences(found.contrasts, found.alpha, None)] if found.contrasts else [],
            "tables": [],
            "farthest": [],
        }
        return _page(
            title=" − ".join(found.runs),
            counts=comparison_counts(found),
            notes=[how_normalised()],
            tables=comparison_tables(found),
            parts=[],
            sections=[section],
            last=[],
        )


def _page(**content: object) -> str:
    style = page_style() + "\n" + TEMPLATES.get_template("survey.css").render()
    return TEMPLATES.get_template("survey.html").render(
        lang=HTML_CODES[current_language()],
        version=__version__,
        kind="survey",
        framed=False,
        policy=content_policy([], digest(style)),
        style=Markup(style),  # noqa: S704 - ours, and without anything of the user's
        **content,
    )


def _sent_on(survey: Survey) -> Survey:
    """Without this machine's folders."""
    exclusions = tuple(replace(one, reason=prose_without_folders(one.reason)) for one in survey.exclusions)
    return replace(survey, provenance=without_folders(survey.provenance), exclusions=exclusions)


def _section(section: SurveySection, alpha: float) -> dict[str, object]:
    """What the template shows of a section."""
    return {
        "title": section_title(section),
        "given": section.method if section.method != method_in_words(section.method) else "",
        "note": frame_note(section),
        "contrasts": [contrast_note(one, alpha) for one in section.contrasts],
        "strips": strips(section, alpha) if section.maps else [],
        "tables": section_tables(section),
        "farthest": [
            {
                "image": one.image,
                "note": map_title(one),
                "distance": gettext("distance {value}", value=number(one.distance)),
                "picture": one.picture,
                "map": map_picture(one.map),
            }
            for one in section.farthest
        ],
    }


def _part_chart(section: SurveySection) -> dict[str, object]:
    """Bars of the relevance for the class by part of the face: of each label, beside the share of the area.

    Places on the axis are in per cent of its width.
    """
    shown = [one for one in section.parts if one.sign == "positive"]
    labels = list(dict.fromkeys(one.label for one in shown if one.label is not None)) or [None]
    shown = [one for one in shown if one.label in labels]
    most = max(max(one.area, one.share, one.high if np.isfinite(one.high) else 0.0) for one in shown) * 1.02

    def bar(one: PartShare) -> dict[str, object]:
        known = np.isfinite(one.low)
        return {
            "width": 100 * one.share / most,
            "whisker": (100 * one.low / most, 100 * one.high / most) if known else None,
            "text": percent(one.share),
            "note": images_of(one.label) + (f": {interval(one.low, one.high, percent)}" if known else ""),
        }

    return {
        "title": method_in_words(section.method),
        "labels": [images_of(label) for label in labels],
        "rows": [
            {
                "part": part_name(part),
                "area": 100 * own[0].area / most,
                "area_text": percent(own[0].area),
                "bars": [bar(one) for one in own],
            }
            for part in PARTS
            if (own := [one for label in labels for one in shown if (one.part, one.label) == (part, label)])
        ],
    }


def comparison_tables(found: SurveyComparison) -> list[Table]:
    """Answers of two runs on the same images, and how alike their maps are."""
    columns: Sequence[Column | str] = [
        gettext("answer of {run}", run=found.runs[0]),
        gettext("answer of {run}", run=found.runs[1]),
        Column(gettext("images")),
    ]
    lines = [
        line([first, second, numeric(count, lambda value: f"{value:.0f}")])
        for first, second, count in found.answers
    ]
    tables = [table(gettext("Answers on the same images"), columns, lines), agreement_table(found.agreement)]
    return [*tables, _part_differences(found)] if found.parts else tables


def _part_differences(found: SurveyComparison) -> Table:
    columns = [
        gettext("part"),
        gettext("images of"),
        gettext("relevance"),
        Column(gettext("images")),
        *(Column(gettext("share in {run}", run=run)) for run in found.runs),
        Column(gettext("difference"), note=gettext("in points of per cent")),
        gettext("interval"),
        Column(gettext("area"), note=gettext("what evenly spread relevance would give")),
    ]
    lines = [
        line(
            [
                part_name(one.part),
                images_of(one.label),
                signs()[one.sign],
                numeric(one.images, lambda value: f"{value:.0f}"),
                numeric(one.first, percent),
                numeric(one.second, percent),
                numeric(one.difference, _points),
                interval(one.low, one.high, _points),
                numeric(one.area, percent),
            ]
        )
        for one in found.parts
    ]
    return table(gettext("Shares of face parts on the same images"), columns, lines)


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def comparison_counts(found: SurveyComparison) -> str:
    """How many images two runs have in common, and what of them is compared."""
    first, second = found.runs
    said = gettext(
        "{images} in common, {groups}; {a} only in {first}, {b} only in {second}. The answers are the "
        "same on {share}.",
        images=ngettext("{n} image", "{n} images", found.images),
        groups=ngettext("{n} group", "{n} groups", found.groups),
        a=found.only[0],
        b=found.only[1],
        first=first,
        second=second,
        share=percent(found.same_answers),
    )
    compared = gettext(
        "Maps: {one} of {first}, {other} of {second}.",
        one=method_in_words(found.methods[0]),
        other=method_in_words(found.methods[1]),
        first=first,
        second=second,
    )
    differ = gettext(
        "They explain different classes, {one} and {other}, so their maps differ for that alone.",
        one=found.targets[0],
        other=found.targets[1],
    )
    return joined([said, compared, differ if found.targets[0] != found.targets[1] else ""])


def comparison_markdown(found: SurveyComparison, lang: str | None = None) -> str:
    """A comparison as Markdown, in a language or in the current one."""
    with language(lang):
        blocks = [f"# {' − '.join(found.runs)}", comparison_counts(found)]
        blocks += [markdown_table(one) for one in comparison_tables(found)]
        blocks += ["\n".join(f"- {contrast_note(one, found.alpha)}" for one in found.contrasts)]
        return "\n\n".join(blocks) + "\n"
