"""One self-contained, interactive HTML file: opens from disk, loads nothing, runs only its own scripts."""

import json
import logging
import os
import re
from base64 import b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from zlib import error as ZlibError

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xai.core import OutputError, UsageError
from xai.core.errors import printable
from xai.core.files import cache_folder, write_bytes
from xai.core.language import DEFAULT, HTML_CODES, catalogue, gettext, language, ngettext, pgettext
from xai.core.map_statistics import NEAR_CONSTANT
from xai.core.names import method_in_words, metric_in_words, row_in_words
from xai.core.runtime import __version__, version_of
from xai.data.face_parts import PARTS
from xai.report import words
from xai.report.about import cards_of, provenance_of
from xai.report.colours import COLOURS, ColourMap
from xai.report.encode import digest, inline, pack, unpack
from xai.report.face_parts import PART_COLOURS
from xai.report.findings import findings_of
from xai.report.footnotes import footnotes_of
from xai.report.image_payload import HEAVY, Image
from xai.report.overview import overview_of
from xai.report.payload import Page
from xai.report.render import charts_of
from xai.report.text import number, percent
from xai.report.video_words import video_of
from xai.report.worded import WordedNames, read_in_words

STYLES = ("page", "benchmark", "timeline", "sheet", "frame")

TEMPLATES = Environment(
    loader=PackageLoader("xai.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=["jinja2.ext.i18n"],
)
TEMPLATES.policies["ext.i18n.trimmed"] = True

log = logging.getLogger(__name__)


TEMPLATES.install_gettext_callables(gettext, ngettext, newstyle=True, pgettext=pgettext)  # type: ignore[attr-defined]
TEMPLATES.filters |= {"percent": percent, "number": number, "printable": printable}


def write_page(page: Page, path: str | os.PathLike[str]) -> None:
    """Write a page as one HTML file; an existing one is replaced at once or not at all.

    Raises:
        UsageError: The page has charts, and the library that draws them is not installed.
    """
    write_bytes(Path(path), to_html(page).encode())


def write_data(page: Page, path: str | os.PathLike[str]) -> None:
    """Write a page's data alone, as JSON."""
    write_bytes(Path(path), (page.model_dump_json(by_alias=True, indent=1) + "\n").encode())


def to_html(page: Page, framed: bool = False) -> str:
    """The page as text; `framed` for a frame in a notebook, where the maps come first."""
    with language(page.lang):
        return _to_html(page, framed)


def _to_html(page: Page, framed: bool) -> str:
    said, names = (page, None) if page.summary is None else read_in_words(page)
    charts = charts_of(said)
    findings = findings_of(said)
    loader, script, style = page_loader(), page_script(page.lang), page_style()
    library = chart_library() if charts else None
    told = _said(page, names)
    blocks = {"script": pack(script), "page": pack(_head(page) | {"charts": charts} | told)}
    footnotes, marks = footnotes_of(page.images)
    scripts = [digest(loader), digest(script)]
    if library is not None:
        blocks["library"] = library.packed
        scripts.append(library.digest)
    for place, image in enumerate(page.images):
        blocks[f"image-{place}"] = pack(image.model_dump(include=set(HEAVY - {"picture"}), mode="json"))
        blocks[f"picture-{place}"] = image.picture or ""
    return TEMPLATES.get_template("page.html").render(
        page=page,
        title=page.title if names is None else gettext("Which maps can be trusted? {run}", run=page.title),
        version=page.version,
        kind=page.kind,
        framed=framed,
        lang=HTML_CODES[page.lang],
        charts=charts,
        findings=findings,
        overview=overview_of(page, said, names, findings.about) if findings and names else None,
        names=names,
        anchors={} if names is None else names.anchors(page),
        words=told["words"]["rows"],
        answers=partial(_answers, page),
        judged=[_judged(page, image) for image in page.images],
        footnotes=footnotes,
        marks=marks,
        cards=cards_of(page),
        video=video_of(page),
        provenance=provenance_of(page),
        policy=content_policy(scripts, digest(style)),
        style=Markup(style),  # noqa: S704 - ours, and without anything of the user's
        loader=Markup(loader),  # noqa: S704 - likewise
        blocks=blocks,
        limits=words.LIMITS,
    )


def _head(page: Page) -> dict[str, Any]:
    """All that a browser needs before any image comes into view."""
    return page.model_dump(mode="json", by_alias=True, exclude={"images": {"__all__": set(HEAVY)}})


def _said(page: Page, names: WordedNames | None) -> dict[str, Any]:
    """What a browser is told beside the page's data: names in words, and in which order labels stand."""
    of_rows = {one.name: row_in_words(one.name, one.method) for one in page.rows}
    of_methods = {one.method: method_in_words(one.method) for one in page.rows}
    of_metrics = {one.metric: metric_in_words(one.metric) for one in page.parts}
    if names is not None:
        of_rows |= {name: names.rows[name] for name in of_rows if name in names.rows}
        of_metrics |= names.metrics
    told = {
        "rows": of_rows,
        "methods": of_methods,
        "metrics": of_metrics,
        "protocols": {} if names is None else names.protocols,
    }
    read = {kind: {name: printable(said) for name, said in of.items()} for kind, of in told.items()}
    return {"words": read, "order": _order(page)}


def _order(page: Page) -> list[str]:
    """Two labels as they are shown, the fake one first; of more than two the likeliest comes first."""
    return words.in_order(page.labels, 2) if len(page.labels) == 2 else []


def _answers(page: Page, image: Image) -> list[tuple[str, float]]:
    """The probabilities of an image in the order in which they are shown."""
    first = [(label, image.probabilities[label]) for label in _order(page) if label in image.probabilities]
    rest = [(label, share) for label, share in image.probabilities.items() if (label, share) not in first]
    return first + sorted(rest, key=lambda one: -one[1])


def _judged(page: Page, image: Image) -> str:
    """Whether the model is "right" or "wrong"; nothing where the truth is not known, or no label of its."""
    if image.label not in page.labels:
        return ""
    found = [image.predicted] if image.predicted_labels is None else image.predicted_labels
    return "right" if image.label in found else "wrong"


@cache
def page_script(code: str, text: str | None = None) -> str:
    """A script, by default that of all pages, with its sentences in a language and the colours of maps."""
    text = script_text() if text is None else text
    colours = json.dumps({name: _table(colours) for name, colours in COLOURS.items()})
    messages = json.dumps(script_messages(code, text), ensure_ascii=False, sort_keys=True)
    hidden = json.dumps(sorted(words.UNSEEN_OPTIONS))
    constants = f"const COLOURS = {colours};\nconst MESSAGES = {messages};\n"
    constants += f"const UNSEEN_OPTIONS = {hidden};\nconst NEAR_CONSTANT = {NEAR_CONSTANT};\n"
    return _apart(constants + text)


@cache
def page_loader() -> str:
    """What a page runs as it stands: it unpacks the page's script, which is long, and runs it."""
    return _apart(script_text(("unpack", "loader")))


def _apart(text: str) -> str:
    """A script whose names nobody else sees."""
    return inline(f'(() => {{\n"use strict";\n{text}\n}})();\n')


@cache
def page_style() -> str:
    """The style of all pages."""
    colours = dict(zip(PARTS, PART_COLOURS, strict=True))
    return "\n".join(TEMPLATES.get_template(f"{name}.css").render(part_colours=colours) for name in STYLES)


def _table(colours: ColourMap) -> str:
    """256 RGB colours in base64."""
    return b64encode((colours.table * 255 + 0.5).astype(np.uint8).tobytes()).decode()


def content_policy(scripts: Sequence[str], style: str, **more: str) -> str:
    """Content Security Policy: nothing is fetched, and only scripts and style of these digests count.

    Args:
        scripts: Their digests.
        style: Its digest.
        more: Further rules, of a page that talks to a server of its own: `connect_src="'self'"`.
    """
    rules: Mapping[str, str] = {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": " ".join(f"'{one}'" for one in scripts),
        "style-src": f"'{style}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


# in this order: what a file uses stands in one before it
SCRIPTS = (
    *("language", "unpack", "data", "colour", "state", "maps", "paint"),
    *("tables", "charts", "folds"),
    *("toolbar", "gallery", "thumbs", "panels", "viewer"),
    *("elements", "evidence", "faceparts", "stability", "curve", "explorer", "timeline", "paper", "sheet"),
    "main",
)
LITERAL = r'"(?:[^"\\\n]|\\.)*"'
TEXT = rf"{LITERAL}(?:\s*\+\s*{LITERAL})*"
CALL = re.compile(rf"\b(?P<mark>n?gettext|pgettext)\(\s*(?P<first>{TEXT})(?:,\s*(?P<second>{TEXT}))?\s*[,)]")


@cache
def script_text(names: Sequence[str] = SCRIPTS) -> str:
    """Scripts, as they are in the package; by default those of all pages."""
    folder = files("xai.report") / "web"
    return "\n".join((folder / f"{name}.js").read_text("utf-8") for name in names)


def literals(call: re.Match[str]) -> tuple[str, ...]:
    """The texts that a call of `gettext` or one of its kin begins with."""
    texts = ["".join(json.loads(one) for one in re.findall(LITERAL, call[place] or "")) for place in (2, 3)]
    return tuple(texts if call["mark"] != "gettext" else texts[:1])


def script_messages(code: str, text: str) -> dict[str, list[str]]:
    """Every sentence of a script, and its forms in this language; none for the language it is written in.

    A word with a context stands under `context|word`.
    """
    if code == DEFAULT:
        return {}
    speaking = catalogue(code)
    messages = {}
    for call in CALL.finditer(text):
        first, *rest = literals(call)
        if call["mark"] == "pgettext":
            messages[f"{first}|{rest[0]}"] = [speaking.pgettext(first, rest[0])]
        elif call["mark"] == "ngettext":
            forms = [speaking.ngettext(first, rest[0], count) for count in (1, 2)]
            messages[first] = forms
        else:
            messages[first] = [speaking.gettext(first)]
    return messages


class ChartLibrary(NamedTuple):
    """A script, ready for a page.

    Args:
        packed: Its text, see `pack`.
        digest: Of the text, as the page's policy states it.
    """

    packed: str
    digest: str


@cache
def chart_library() -> ChartLibrary:
    """Vega-Lite with its runtime as one script; see reports/chart_libraries.md for why this one.

    Bundling takes seconds, so the script is kept in the cache. What is read there counts only if its digest,
    the one by which a browser admits it, is right.

    Raises:
        UsageError: The Python package that ships it is not installed.
    """
    try:
        package = import_module("vl_convert")
    except ImportError:
        raise UsageError(
            "The charts of this page need vl-convert-python, which is not installed.",
            "Run: pip install 'vit-xai[bench]'",
        ) from None
    path = _kept()
    found = None if path is None else _read(path)
    if found is None:
        text = inline(package.javascript_bundle())
        found = ChartLibrary(pack(text), digest(text))
        if path is not None:
            try:
                write_bytes(path, "\n".join(found).encode())
            except OutputError as error:  # the next page waits again
                log.info("%s", error)
    return found


def _kept() -> Path | None:
    """Where it is kept, by the versions that it depends on; None for a user without a home."""
    with suppress(RuntimeError):
        return cache_folder() / "charts" / f"vega-{version_of('vl-convert-python')}-{__version__}"
    return None


def _read(path: Path) -> ChartLibrary | None:
    """What is kept there; None where nothing is, or nothing whole."""
    try:
        found = ChartLibrary(*path.read_text("ascii").split("\n"))
        whole = digest(unpack(found.packed)) == found.digest
    except (OSError, EOFError, ValueError, TypeError, Base64Error, ZlibError):
        return None
    return found if whole else None
