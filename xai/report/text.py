"""Labels and numbers as text: printable, as file names, in a font that has the characters, within a width."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from hashlib import sha256
from math import floor, isfinite, log10

import numpy as np
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font

from xai.core.errors import printable
from xai.core.language import DEFAULT, LANGUAGES, current_language, language

BASE = "DejaVu Sans"  # comes with matplotlib
FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "STHeiti",
    "Arial Unicode MS",
    "Malgun Gothic",
)
POINTS = 72.0  # per inch
SPACING = 1.3  # of lines, in font sizes
# a line may break around every Chinese or Japanese character, but not before closing punctuation
WIDE = r"\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff"
CLOSING = r"\u3001\u3002\uff09\uff0c\uff01\uff1a\uff1b\uff1f\u201d"
WORDS = re.compile(rf"[{WIDE}][{CLOSING}]* ?|[^ {WIDE}]+ ?| ")
PIECES = re.compile(r"[^_/-]*[_/-]|[^_/-]+")
LARGE = 1e8  # numbers are written out below this
LONGEST_SLUG = 80  # bytes of a slug: leaves room for the stem beside it
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # device names on Windows
HASHED = re.compile(r".*-[0-9a-f]{8}")


def drawable(text: str) -> str:
    r"""Like `printable`; characters that no font on this machine has are written as escapes (\u771f)."""
    text = printable(text)
    return text if _plain(text) else "".join(map(_drawable, text))


def file_slug(label: str) -> str:
    """A class name made safe for file names on every system.

    Letters and digits of any script, `-`, `_` and inner dots stay; a name that had to change gets a
    short hash, so that distinct names stay distinct. Never empty, at most 80 bytes.
    """
    slug = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", label)).strip("-.")
    if slug == label and len(label.encode()) <= LONGEST_SLUG and label and not _ambiguous(label):
        return label
    if RESERVED.fullmatch(slug):
        slug = slug.replace(".", "-")  # a device name stays one whatever follows its dot
    digest = sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    room = slug.encode("utf-8", "ignore")[: LONGEST_SLUG - 9].decode("utf-8", "ignore").rstrip("-.")
    return f"{room or 'class'}-{digest}"


@contextmanager
def drawable_language() -> Iterator[None]:
    """Speak in pictures the current language, or English where no font on this machine has its characters.

    Also a decorator of what draws.
    """
    name = LANGUAGES[current_language()]
    with language(None if drawable(name) == name else DEFAULT):
        yield


def font(text: str, size: float, bold: bool = False) -> FontProperties:
    """A font for this text: the base font, followed by a fallback only where it is needed (they are slow)."""
    plain = _plain(text)
    families = [BASE] if plain else [BASE, *_installed()]
    # fallbacks often come in one weight only; asking for another makes matplotlib complain
    return FontProperties(family=families, size=size, weight="bold" if bold and plain else "normal")


def wrap(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """Break text into lines of at most `width` inches, between words; too long words after `_`, `-`, `/`."""
    room = width * POINTS / size
    lines: list[str] = []
    used = 0.0  # of the last line, in font sizes

    def fits(piece: str) -> bool:
        return used + _width(piece.rstrip(), bold) <= room

    def begin() -> None:
        nonlocal used
        lines.append("")
        used = 0.0

    def add(piece: str) -> None:
        nonlocal used
        lines[-1] += piece
        used += _width(piece, bold)

    for word in WORDS.findall(text):
        if lines and fits(word):
            add(word)
            continue
        begin()
        for piece in [word] if fits(word) else PIECES.findall(word):
            if lines[-1] and not fits(piece):
                begin()
            for part in [piece] if fits(piece) else piece:
                if lines[-1] and not fits(part):
                    begin()
                add(part)
    return [line.rstrip() for line in lines]


def line_width(text: str, size: float, bold: bool = False) -> float:
    """Width in inches of one line."""
    return _width(text, bold) * size / POINTS


def height(lines: int, size: float) -> float:
    """Height in inches of that many lines."""
    return lines * size * SPACING / POINTS


def shorten(text: str, length: int) -> str:
    """Take characters out of the middle: both ends of a file or class name tell it from its neighbours."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def number(value: float) -> str:
    """Three digits, with a power of ten where it is needed: 0.0123, 1.2×10⁻⁵."""
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")) if exponent else ""
    return mantissa.replace("-", "−") + (f"×10{power}" if power else "")


def percent(share: float) -> str:
    """One decimal; never 0 or 100 % unless it is exactly that."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def number_format(values: Sequence[float], spread: Sequence[float]) -> Callable[[float], str]:
    """How to write a column of numbers: equally many decimals, as many as its typical `spread` deserves.

    Args:
        values: In the column.
        spread: Sizes of differences that matter, such as widths of intervals.
    """
    sizes = [size for size in spread if isfinite(size) and size > 0] or [abs(v) for v in values if v]
    digits = 2 - floor(log10(float(np.median(sizes)))) if sizes else 2
    largest = max((abs(value) for value in values if isfinite(value)), default=0.0)
    if digits > 5 or largest >= LARGE:
        return number
    return lambda value: f"{value:.{max(1, digits)}f}".replace("-", "−")


def _ambiguous(label: str) -> bool:
    """A device name, or a name that looks like the slug of another."""
    return bool(RESERVED.fullmatch(label) or HASHED.fullmatch(label))


@lru_cache(maxsize=4096)  # the same words are measured again and again
def _width(text: str, bold: bool) -> float:
    """Width in font sizes."""
    return sum([_advance(character, bold) for character in text])


@cache
def _advance(character: str, bold: bool) -> float:
    """Width of a character in font sizes; one full square for those of other scripts."""
    if ord(character) not in _characters(BASE):
        return 1.0
    face = _face(bold)
    return face.load_char(ord(character)).linearHoriAdvance / 65536 / 100


@cache
def _face(bold: bool) -> FT2Font:
    face = FT2Font(font_manager.findfont(FontProperties(family=[BASE], weight="bold" if bold else "normal")))
    face.set_size(100, POINTS)
    return face


@cache
def _installed() -> tuple[str, ...]:
    names = set(font_manager.get_font_names())
    return tuple(name for name in FALLBACKS if name in names)


def _plain(text: str) -> bool:
    """Whether the base font has all characters."""
    return _characters(BASE).issuperset(map(ord, text))


def _drawable(character: str) -> str:
    families = (BASE, *_installed())
    if any(ord(character) in _characters(family) for family in families):
        return character
    return character.encode("unicode_escape").decode()


@cache
def _characters(family: str) -> frozenset[int]:
    path = font_manager.findfont(FontProperties(family=[family]))
    return frozenset(FT2Font(path).get_charmap())
