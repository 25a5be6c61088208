"""The page: one document with its own style and scripts, which asks this server and nobody else."""

from functools import cache
from importlib.resources import files

from jinja2 import ChoiceLoader, PackageLoader
from markupsafe import Markup

from xai.core.language import HTML_CODES, current_language, gettext
from xai.core.runtime import __version__
from xai.data.image import SUFFIXES
from xai.report import words
from xai.report.encode import digest
from xai.report.page import TEMPLATES, content_policy, page_script, page_style, script_text
from xai.serve.uploads import Limits

# what of the reports' scripts the page paints with, and its own
SHARED = ("language", "data", "colour", "state", "maps", "paint", "elements")
SCRIPTS = ("server", "images", "choices", "mapgrid", "brush", "score", "saving", "main")

_TEMPLATES = TEMPLATES.overlay(loader=ChoiceLoader([PackageLoader("xai.serve"), PackageLoader("xai.report")]))


def page_of(limits: Limits) -> tuple[str, str]:
    """The document, and its Content Security Policy.

    Args:
        limits: Of uploads, for the words that tell of them.
    """
    script, style = (
        page_script(current_language(), script_text_of_page()),
        page_style() + "\n" + _text("serve.css"),
    )
    more = {"connect_src": "'self'"}
    policy = content_policy([digest(script)], digest(style), **more)
    text = _TEMPLATES.get_template("serve.html").render(
        title=gettext("Explain images, and take evidence away"),
        kind="serve",
        framed=False,
        lang=HTML_CODES[current_language()],
        version=__version__,
        policy=policy,
        style=Markup(style),  # noqa: S704 - ours, and without anything of the user's
        script=Markup(script),  # noqa: S704 - likewise
        limits=limits,
        caution=words.LIMITS,
        suffixes=",".join(SUFFIXES),
    )
    return text, f"{policy}; frame-ancestors 'none'"


@cache
def script_text_of_page() -> str:
    """The scripts that paint maps, and the own ones of the page."""
    return "\n".join([script_text(SHARED), *(_text(f"{name}.js") for name in SCRIPTS)])


@cache
def _text(name: str) -> str:
    return (files("xai.serve") / "web" / name).read_text("utf-8")
