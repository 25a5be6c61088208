"""An explanation in the output of a notebook's cell: the page in a frame of its own."""

from html import escape

from xai.core import Explanation
from xai.report import words
from xai.report.explanations import explanation_page, image_of
from xai.report.facts import model_facts
from xai.report.page import to_html
from xai.report.payload import Row

HEIGHT = 760  # pixels


def to_frame(explanation: Explanation) -> str:
    """One explanation as an `<iframe>` that holds the whole page.

    The frame is sandboxed: the page's scripts and styles reach nothing of the notebook, nor the notebook's
    styles the page. It works wherever a cell's output may hold a frame: Jupyter, VS Code, Colab.

    Raises:
        DataError: A map holds NaN or infinity.
    """
    method, options = explanation.method, dict(explanation.options)
    title = words.name(explanation)
    page = explanation_page(
        [image_of(explanation)],
        labels=explanation.labels,
        problem_type=explanation.problem_type,
        row=Row(name=method, method=method, options=options, preset=explanation.preset),
        title=title,
        model=model_facts(explanation.model),
        provenance={"settings": {"method": method, "options": options, "classes": list(explanation.maps)}},
    )
    return (
        f'<iframe srcdoc="{escape(to_html(page, framed=True))}" title="{escape(f"Explanation of {title}")}" '
        f'sandbox="allow-scripts allow-modals" width="100%" height="{HEIGHT}" frameborder="0"></iframe>'
    )
