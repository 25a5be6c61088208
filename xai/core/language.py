"""The language of pages and summaries: marked sentences, and the one they are said in within a block of code.

A sentence is marked where it is phrased: `gettext("peak {share} of scale", share=...)`. What is phrased at
import (a constant, a summary of a method) is marked by `gettext_noop` and translated by `gettext` where it is
shown. Data, names, keys, options and errors stay as they are. `make translations` renews the catalogues.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from gzip import decompress
from importlib.resources import files
from io import BytesIO
from typing import Literal

from xai.core.errors import UsageError, nearest

Language = Literal["en", "zh"]
LANGUAGES: dict[Language, str] = {"en": "English", "zh": "简体中文"}
HTML_CODES = {"en": "en", "zh": "zh-Hans"}  # of a document's `lang`, where fonts depend on the script
DEFAULT: Language = "en"
HAN = re.compile("[\u4e00-\u9fff]")  # Chinese characters, between which no space stands

_current: ContextVar[Language] = ContextVar("language", default=DEFAULT)


@contextmanager
def language(code: str | None) -> Iterator[None]:
    """Say everything within the block in this language; None keeps the current one.

    Holds for the current thread and task only, as every context variable does.

    Raises:
        UsageError: There is no such language.
    """
    token = _current.set(check_language(code or current_language()))
    try:
        yield
    finally:
        _current.reset(token)


def check_language(code: str) -> Language:
    """The code of a language that pages and summaries can be written in.

    Raises:
        UsageError: There is no such language.
    """
    for known in LANGUAGES:
        if known == code:
            return known
    raise UsageError(f"There is no language {code!r}.", nearest(str(code), LANGUAGES))


def current_language() -> Language:
    """The code of the language in which sentences are said now."""
    return _current.get()


def gettext(message: str, **values: object) -> str:
    """A sentence in the current language, with its `{name}` placeholders filled in where values are given."""
    return _filled(catalogue(current_language()).gettext(message), values)


def ngettext(one: str, many: str, count: int, **values: object) -> str:
    """A sentence that depends on a number, which stands for the placeholder `{n}`."""
    return _filled(catalogue(current_language()).ngettext(one, many, count), {"n": count} | values)


def pgettext(context: str, message: str, **values: object) -> str:
    """Like `gettext`, of a word that means several things; `context` tells the translator which one."""
    return _filled(catalogue(current_language()).pgettext(context, message), values)


def gettext_noop(message: str) -> str:
    """Mark a sentence that is said later: returned as it is."""
    return message


def listed(items: Sequence[str]) -> str:
    """`a, b and c`, as the current language lists things."""
    *first, last = items
    return gettext("{first} and {last}", first=gettext(", ").join(first), last=last) if first else last


def joined(sentences: Iterable[str]) -> str:
    """Sentences one after another, as the current language parts them; empty ones are left out."""
    text = ""
    for sentence in filter(None, sentences):
        text = gettext("{first} {second}", first=text, second=sentence) if text else sentence
    return text


@cache
def catalogue(code: str) -> NullTranslations:
    """The messages of a language; English ones are the sentences in the code."""
    if code == DEFAULT:
        return NullTranslations()
    packed = (files("xai.core") / "locale" / code / "LC_MESSAGES" / "xai.mo.gz").read_bytes()
    return GNUTranslations(BytesIO(decompress(packed)))


def _filled(message: str, values: dict[str, object]) -> str:
    for name, value in values.items():
        # translations part scripts by a space, which is wrong where what is filled in is of the same one
        if isinstance(value, str) and value and " " in message:
            if HAN.match(value):
                message = re.sub(f"(?<={HAN.pattern}) (?={{{name}}})", "", message)
            if HAN.match(value[-1]):
                message = re.sub(f"(?<={{{name}}}) (?={HAN.pattern})", "", message)
    return message.format(**values) if values else message
