"""The page's own scripts as one, with the sentences they say in the language of the page."""

import json
import re
from functools import cache
from importlib.resources import files

from xai.core.language import DEFAULT, catalogue

# in this order: what a file uses stands in one before it
SCRIPTS = (
    *("language", "data", "colour", "state", "maps", "paint"),
    *("tables", "charts"),
    *("toolbar", "gallery", "panels", "viewer"),
    *("elements", "evidence", "curve", "explorer", "paper", "sheet"),
    "main",
)
LITERAL = r'"(?:[^"\\\n]|\\.)*"'
TEXT = rf"{LITERAL}(?:\s*\+\s*{LITERAL})*"
CALL = re.compile(rf"\b(?P<mark>n?gettext|pgettext)\(\s*(?P<first>{TEXT})(?:,\s*(?P<second>{TEXT}))?\s*[,)]")


@cache
def script_text() -> str:
    """All scripts, as they are in the package."""
    folder = files("xai.report") / "web"
    return "\n".join((folder / f"{name}.js").read_text("utf-8") for name in SCRIPTS)


def literals(call: re.Match[str]) -> tuple[str, ...]:
    """The texts that a call of `gettext` or one of its kin begins with."""
    texts = ["".join(json.loads(one) for one in re.findall(LITERAL, call[place] or "")) for place in (2, 3)]
    return tuple(texts if call["mark"] != "gettext" else texts[:1])


def script_messages(code: str) -> dict[str, list[str]]:
    """Every sentence of the scripts, and its forms in this language; none for the language it is written in.

    A word with a context stands under `context|word`.
    """
    if code == DEFAULT:
        return {}
    speaking = catalogue(code)
    messages = {}
    for call in CALL.finditer(script_text()):
        first, *rest = literals(call)
        if call["mark"] == "pgettext":
            messages[f"{first}|{rest[0]}"] = [speaking.pgettext(first, rest[0])]
        elif call["mark"] == "ngettext":
            forms = [speaking.ngettext(first, rest[0], count) for count in (1, 2)]
            messages[first] = forms
        else:
            messages[first] = [speaking.gettext(first)]
    return messages
