"""Renews the catalogues: what code, templates and scripts mark, for translators and programs."""

import ast
import gzip
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from xai.core.language import DEFAULT, LANGUAGES
from xai.report.page import CALL, literals

ROOT = Path(__file__).parents[1]
LOCALE = ROOT / "xai" / "core" / "locale"
MARKS = ("gettext", "ngettext", "pgettext", "gettext_noop")
DESCRIBED = ("MethodInfo", "MetricInfo", "_of_mask")  # their summaries are sentences of pages
KEYWORDS = DEFAULT_KEYWORDS | {"gettext_noop": None}
HEAD = {
    "project": "vit-xai",
    "version": "",
    "charset": "utf-8",
    "fuzzy": False,
    "last_translator": "The xai authors",
}
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w*\}")

# Babel's own extractors of Python and JavaScript pass over calls inside of other calls and of f-strings
METHODS = [
    ("**.py", "translations:from_python"),
    ("**.js", "translations:from_script"),
    ("**/templates/**.html", "jinja2.ext:babel_extract"),
]
OPTIONS = {
    "**/templates/**.html": {
        "extensions": "jinja2.ext.i18n",
        "newstyle_gettext": "true",
        "trimmed": "true",
        "silent": "false",
    }
}


def from_python(file, keywords, comment_tags, options) -> Iterator[tuple]:
    """Babel extraction method: every call of a mark, wherever it stands, and summaries of methods."""
    for node in ast.walk(ast.parse(file.read())):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in MARKS:
            yield node.lineno, node.func.id, tuple(_literals(node)), []
        if isinstance(node.func, ast.Name) and node.func.id in DESCRIBED:
            for keyword in node.keywords:
                if keyword.arg == "summary" and isinstance(keyword.value, ast.Constant):
                    yield node.lineno, "gettext", (keyword.value.value,), []


def from_script(file, keywords, comment_tags, options) -> Iterator[tuple]:
    """Babel extraction method: what the page finds in its own scripts."""
    text = file.read().decode()
    for found in CALL.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found["mark"], literals(found), []


def template() -> Catalog:
    """All that is marked now."""
    catalog = Catalog(**HEAD)
    found = extract_from_dir(ROOT / "xai", METHODS, OPTIONS, KEYWORDS)
    for _, _, message, comments, context in sorted(found, key=lambda one: (one[0], one[1])):
        catalog.add(message, auto_comments=comments, context=context)
    return catalog


def catalogue_of(code: str) -> Catalog:
    """A language's translations as they are committed; empty for a new one."""
    path = po_file(code)
    if not path.exists():
        return Catalog(
            locale=code, header_comment=f"# Sentences of pages and summaries: {LANGUAGES[code]}.", **HEAD
        )
    with path.open("rb") as file:
        return read_po(file, locale=code)


def write(catalog: Catalog) -> None:
    """Both files of a language."""
    path = po_file(str(catalog.locale))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalog, width=100)
    write_mo(compiled := BytesIO(), catalog)
    path.with_suffix(".mo.gz").write_bytes(gzip.compress(compiled.getvalue(), mtime=0))


def po_file(code: str) -> Path:
    return LOCALE / code / "LC_MESSAGES" / "xai.po"


def untranslated(catalog: Catalog) -> list[str]:
    """Messages without a translation, or with a doubtful one."""
    return [str(one.id) for one in catalog if one.id and (one.fuzzy or not all(_forms(one.string)))]


def misplaced(catalog: Catalog) -> list[str]:
    """Translations that lack a placeholder of their original or have one of their own."""
    return [str(one.id) for one in catalog if one.id and not _fits(one.id, one.string)]


def translated_languages() -> list[str]:
    return [code for code in LANGUAGES if code != DEFAULT]


def _literals(call: ast.Call) -> Iterator[str]:
    texts = 1 if call.func.id in {"gettext", "gettext_noop"} else 2
    for argument in call.args[:texts]:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value


def _fits(original, translation) -> bool:
    wanted = set(PLACEHOLDER.findall(_forms(original)[-1]))
    allowed = set().union(*(PLACEHOLDER.findall(form) for form in _forms(original)))
    return all(wanted <= set(PLACEHOLDER.findall(form)) <= allowed for form in _forms(translation) if form)


def _forms(text) -> tuple[str, ...]:
    return (text or "",) if text is None or isinstance(text, str) else tuple(text)


def main() -> None:
    current = template()
    for code in translated_languages():
        catalog = catalogue_of(code)
        catalog.update(current, no_fuzzy_matching=True)
        catalog.obsolete.clear()
        write(catalog)
        missing = untranslated(catalog)
        print(f"{code}: {len(catalog)} messages, {len(missing)} without a translation", *missing, sep="\n  ")


if __name__ == "__main__":
    main()
