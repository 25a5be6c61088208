"""A survey as one HTML file: opens from disk, loads nothing, runs no script."""

from dataclasses import replace

from markupsafe import Markup

from xai.core.language import HTML_CODES, current_language, gettext, language
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
from xai.report.survey_comparison import comparison_counts, comparison_tables
from xai.report.survey_maps import differences, map_picture, strips
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
