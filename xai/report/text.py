"""Labels and numbers as text: printable, as file names, in a font that has the characters, within a width.

Words in Latin, Greek or Cyrillic letters need no more than the font file that comes with matplotlib, which
itself takes its time to load and is asked for other scripts only.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from hashlib import sha256
from importlib.util import find_spec
from math import floor, isfinite, log10
from pathlib import Path

import numpy as np
from PIL import ImageFont

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
# characters that the base font has, in both weights, and that stand one after the other from left to right
PLAIN = re.compile(
    "[ -~\xa0-\xac\xae-\u02e9\u0391-\u03a1\u03a3-\u0482\u048a-\u0513"
    "\u2010-\u2027\u202f-\u205e\u2070\u2074-\u208e\u2190-\u22ff]*"
)
POINTS = 72.0  # per inch
SPACING = 1.3  # of lines, in font sizes
DESIGN = 2048  # pixels: the size at which the base font was designed, so that its widths are exact
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
    return text if is_plain(text) else "".join(map(_drawable, text))


def file_slug(label: str) -> str:
    """A class name made safe for file names on every system.

    Letters and digits of any script, `-`, `_` and inner dots stay; a name that had to change gets a
    short hash, so that distinct names stay distinct. Never empty, at most 80 bytes.
    """
    return _slug(label, whole=True)


def file_slugs(labels: Iterable[str]) -> dict[str, str]:
    """`file_slug` of each, which also stand apart behind the names of images.

    A file system may not tell `Fake` from `fake`; and `a_face_swap` could be `face_swap` of the image `a` or
    `swap` of `a_face`. Such names get a hash.
    """
    slugs = {label: file_slug(label) for label in labels}
    count = Counter(slug.casefold() for slug in slugs.values())

    def stands_apart(slug: str) -> bool:
        parts = slug.casefold().split("_")
        return count[slug.casefold()] == 1 and not any(
            "_".join(parts[place:]) in count for place in range(1, len(parts))
        )

    return {label: slug if stands_apart(slug) else _slug(label, whole=False) for label, slug in slugs.items()}


@lru_cache(maxsize=65536)  # those of all classes are asked for with every image
def _slug(label: str, whole: bool) -> str:
    """The name made safe; without a hash if it need not change and may stay whole."""
    slug = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", label)).strip("-.")
    if whole and slug == label and len(label.encode()) <= LONGEST_SLUG and label and not _ambiguous(label):
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


def is_plain(text: str) -> bool:
    """Whether the base font has all characters, which stand one after the other from left to right."""
    return PLAIN.fullmatch(text) is not None


def fonts_of(text: str, bold: bool = False) -> tuple[list[str], str]:
    """Families and weight for a text: the base font, followed by others only where needed (they are slow)."""
    if is_plain(text) or _has_all(BASE, text):
        return [BASE], "bold" if bold else "normal"
    # others often come in one weight only; asking for another makes matplotlib complain
    return [BASE, *_installed()], "normal"


@lru_cache(maxsize=64)
def base_font(size: float, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The base font at a size in pixels, for single characters of plain text."""
    return ImageFont.truetype(_font_file(bold), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def advance(text: str, bold: bool = False) -> float:
    """Exact width of a few characters in font sizes; kerned where Pillow has Raqm (alone it does not)."""
    return _design(bold).getlength(text) / DESIGN


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
    if not is_plain(character) and not _has_all(BASE, character):
        return 1.0
    return advance(character, bold)


@cache
def _design(bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_file(bold), DESIGN)


def _font_file(bold: bool) -> str:
    return str(_fonts_folder() / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))


@cache
def _fonts_folder() -> Path:
    """Where matplotlib keeps its fonts, found without loading it wherever it is installed as a wheel."""
    spec = find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        fonts = Path(folder, "mpl-data/fonts/ttf")
        if (fonts / "DejaVuSans.ttf").is_file():
            return fonts
    from matplotlib import get_data_path

    return Path(get_data_path(), "fonts/ttf")


@cache
def _installed() -> tuple[str, ...]:
    from matplotlib import font_manager

    names = set(font_manager.get_font_names())
    return tuple(name for name in FALLBACKS if name in names)


def _has_all(family: str, text: str) -> bool:
    return _characters(family).issuperset(map(ord, text))


def _drawable(character: str) -> str:
    if is_plain(character) or any(_has_all(family, character) for family in (BASE, *_installed())):
        return character
    return character.encode("unicode_escape").decode()


@cache
def _characters(family: str) -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont(FontProperties(family=[family]))).get_charmap())
