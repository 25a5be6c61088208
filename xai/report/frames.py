"""Pages of what explanations themselves hold, and frames for a notebook's output that keep to themselves."""

from collections.abc import Sequence
from html import escape

from xai.core import DataError, Explanation, UsageError
from xai.core.language import gettext, language
from xai.report import words
from xai.report.about import model_description
from xai.report.explanations import explanation_page, image_of
from xai.report.page import to_html
from xai.report.payload import Page, PageMethod

FRAME_HEIGHT = 760  # pixels


def to_frame(explanation: Explanation) -> str:
    """One explanation as an `<iframe>` that holds the whole page, in the explanation's language.

    The frame is sandboxed: the page's scripts and styles reach nothing of the notebook, nor the notebook's
    styles the page. It works wherever a cell's output may hold a frame: Jupyter, VS Code, Colab.

    Raises:
        DataError: A map holds NaN or infinity.
    """
    with language(explanation.lang):
        return _frame(explanation)


def _frame(explanation: Explanation) -> str:
    heading = gettext("Explanation of {name}", name=words.name(explanation))
    return page_frame(plain_page([explanation]), heading)


def plain_page(
    explanations: Sequence[Explanation], title: str | None = None, asked: int | None = None
) -> Page:
    """A page of what explanations themselves hold, in their language: the model is not asked again.

    Args:
        explanations: Of one method and model.
        title: Heading; default what was explained, and how it was judged.
        asked: Images asked for; default those shown.

    Raises:
        DataError: There is none, or a map holds NaN or infinity.
        UsageError: They are of several methods or models.
    """
    if not explanations:
        raise DataError("There is no explanation to show.")
    first = explanations[0]
    method, options, model = first.method, dict(first.options), dict(first.model)
    for one in explanations:
        if (one.method, dict(one.options), one.labels, dict(one.model)) != (
            method,
            options,
            first.labels,
            model,
        ):
            raise UsageError(
                "These explanations are of several methods or models.",
                "Make a page of each, or compare methods on the same images: xai.compare.",
            )
    with language(first.lang):
        about = model_description(model)
        return explanation_page(
            [image_of(one) for one in explanations],
            labels=first.labels,
            problem_type=first.problem_type,
            method=PageMethod(name=method, method=method, options=options, preset=first.preset),
            title=title,
            model=about,
            provenance={"settings": {"method": method, "options": options, "classes": list(first.maps)}},
            asked=asked,
        )


def page_frame(page: Page, heading: str | None = None) -> str:
    """A page as an `<iframe>` for a notebook, see `to_frame`; the heading is for those who do not see it."""
    return (
        f'<iframe srcdoc="{escape(to_html(page, framed=True))}" title="{escape(heading or page.title)}" '
        f'sandbox="allow-scripts allow-modals" width="100%" height="{FRAME_HEIGHT}" frameborder="0"></iframe>'
    )
