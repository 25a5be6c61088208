"""Lines of text as ink."""

import unicodedata

import matplotlib
import numpy as np
import pytest
from matplotlib.ft2font import FT2Font, LoadFlags
from PIL import Image, ImageDraw, features

from xai.report.glyphs import ink_of
from xai.report.text import PLAIN, base_font, drawable, is_plain

SENTENCE = "Both class maps share one scale: equal colours mean equal relevance, a pale map is weak evidence."
SIZE = 24.5


@pytest.mark.parametrize("name", ["DejaVuSans", "DejaVuSans-Bold"])
def test_the_base_font_has_all_plain_characters(name):
    path = f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf"
    there = set(FT2Font(path).get_charmap())
    plain = [chr(code) for code in range(0x3000) if PLAIN.fullmatch(chr(code))]
    assigned = [one for one in plain if unicodedata.category(one) != "Cn"]
    assert len(assigned) > 1000 and set(map(ord, assigned)) <= there
    for one in assigned:
        assert unicodedata.bidirectional(one) not in ("R", "AL", "AN") and not unicodedata.combining(one)


@pytest.mark.parametrize("bold", [False, True])
def test_words_are_as_wide_as_matplotlib_sets_them(bold):
    name = "DejaVuSans-Bold" if bold else "DejaVuSans"
    font = FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf")
    font.set_size(SIZE, 72)
    font.set_text(SENTENCE, flags=LoadFlags.NO_HINTING)
    expected = font.get_width_height()[0] / 64
    assert ink_of(SENTENCE, SIZE, bold).width == pytest.approx(expected, rel=0.005)


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow itself does not kern")
def test_letters_are_kerned():
    apart = sum(ink_of(letter, SIZE).width for letter in "AVAT")
    assert ink_of("AVAT", SIZE).width < 0.95 * apart


def test_a_letter_is_drawn_as_pillow_draws_it():
    ink = ink_of("g", SIZE)
    font = base_font(SIZE)
    image = Image.new("L", (60, 60))
    ImageDraw.Draw(image).text((20, 40), "g", 255, font, "ls")
    left, top, right, bottom = image.getbbox()
    rows, cols = ink.mask.nonzero()
    found = ink.mask[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    assert (found == np.asarray(image)[top:bottom, left:right]).all()
    assert (ink.left + cols.min(), ink.top + rows.min()) == (left - 20, top - 40)


def test_nothing_is_written_of_nothing():
    assert ink_of("", SIZE).mask.size == 0
    assert ink_of("   ", SIZE).width == pytest.approx(3 * ink_of(" ", SIZE).width)


@pytest.mark.parametrize("text", ["\u0648\u062c\u0647", "e\u0301", "fake \u05e9\u05dc\u05d5\u05dd 3"])
def test_other_scripts_are_shaped_and_stand_on_the_same_line(text):
    assert not is_plain(text) and drawable(text) == text
    ink = ink_of(text, SIZE)
    rows, _ = np.nonzero(ink.mask)
    assert len(rows) > 50
    assert -1.1 * SIZE < ink.top + rows.min() < -0.4 * SIZE
    assert -2 <= ink.top + rows.max() < 0.4 * SIZE
    assert ink.width == pytest.approx(ink.mask.shape[1], abs=3)
