"""Two surveys that were compared, in sentences and tables."""

from collections.abc import Sequence

from xai.core.language import gettext, joined, language, ngettext
from xai.report.survey import agreement_table, contrast_note
from xai.report.tables import Column, Table, line, markdown_table, numeric, share, table
from xai.stats.survey import SurveyComparison


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
