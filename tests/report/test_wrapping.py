"""Lines of text in pictures."""

import re

import pytest

from xai.report.text import line_width, wrap

CHINESE = "两个类别的热图共用一个色标：颜色相同即相关性相同。橙色支持 fake，蓝色反对该类别。"


def test_chinese_fills_its_lines_and_begins_none_with_closing_punctuation():
    lines = wrap(CHINESE, 1.5, 8.0)
    assert "".join(lines).replace(" ", "") == CHINESE.replace(" ", "")
    assert all(line_width(line, 8.0) <= 1.5 for line in lines)
    # but for a word that does not fit behind it, and the last one, no line has room for three characters more
    assert all(line_width(line, 8.0) > 1.5 - 4 * 8 / 72 for line in lines[:-1])
    assert not any(re.match("[：。，、]", line) for line in lines)


@pytest.mark.parametrize("text", ["a  b c_d/e-f", " leading and trailing ", "no-break", ""])
def test_other_text_breaks_at_spaces(text):
    assert " ".join(wrap(text, 0.3, 8.0)).split() != [] or not text.strip()
    assert "".join(wrap(text, 0.3, 8.0)).replace(" ", "") == text.replace(" ", "")
