"""A survey, or two that were compared, as one HTML file: opens from disk, loads nothing, runs no script."""

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup

from xai.core.language import HTML_CODES, current_language, gettext, joined, language, ngettext
from xai.core.runtime import __version__
from xai.report.about import without_folders
from xai.report.encode import digest
from xai.report.page import TEMPLATES, content_policy, page_style
from xai.report.survey import (
    agreement_table,
    answers_table,
    contrast_note,
    counts,
    exclusions_table,
    frame_note,
    how_normalised,
    map_title,
    notes,
    provenance_table,
    section_tables,
    section_title,
)
from xai.report.survey_maps import differences, map_picture, strips
from xai.report.tables import Column, Table, line, markdown_table, numeric, share, table
from xai.report.text import number
from xai.stats.survey import Survey, SurveyComparison, SurveySection


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
            sections=[_section(one, survey.alpha) for one in survey.sections],
            last=[*last, (gettext("Provenance"), tables)],
        )


def comparison_page(found: SurveyComparison, lang: str | None = None) -> str:
    """The page of two surveys that were compared, in a language or in the current one."""
    with language(lang):
        section = {
            "title": gettext("Differences"),
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
    exclusions = tuple(replace(one, reason=without_folders(one.reason)) for one in survey.exclusions)
    return replace(survey, provenance=without_folders(survey.provenance), exclusions=exclusions)


def _section(section: SurveySection, alpha: float) -> dict[str, object]:
    """What the template shows of a section."""
    return {
        "title": section_title(section),
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
    return [table(gettext("Answers on the same images"), columns, lines), agreement_table(found.agreement)]


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
        share=share(found.same_answers),
    )
    compared = gettext(
        "Maps: {one} of {first}, {other} of {second}.",
        one=found.methods[0],
        other=found.methods[1],
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
