"""`--lang`: what a person reads is in the language asked for, what a program reads is the same in all."""

import json
import re

import pytest
from tiny_detector import write_photos

import xai.report.text as text
from xai.core.language import current_language

CHINESE = re.compile(r"[\u4e00-\u9fff]")
COMMANDS = (
    ["explain", "in", "--lang", "xx"],
    ["compare", "in", "--lang", "xx"],
    ["demo", "--lang", "xx"],
    ["report", "run", "--lang", "xx"],
    ["benchmark", "run", "run.yaml", "--lang", "xx"],
    ["benchmark", "summary", "run", "--lang", "xx"],
    ["benchmark", "compare", "run", "run", "--lang", "xx"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_an_unknown_language_is_a_usage_error_before_any_work(tmp_path, xai_command, command):
    run = xai_command(*command)
    assert run.code == 2
    assert "There is no language 'xx'" in run.stderr and "Valid: en, zh." in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_explanation_in_chinese(tmp_path, xai_command, detector):
    write_photos(tmp_path / "in", 1)
    english = xai_command("explain", "in", "--config", detector, "--report", "--out", "en")
    chinese = xai_command("explain", "in", "--config", detector, "--report", "--out", "zh", "--lang", "zh")
    assert english.code == chinese.code == 0, english.stderr + chinese.stderr
    assert not CHINESE.search(english.stdout + english.stderr)
    assert "1 张图像中已解释 1 张" in chinese.stderr and "预测" in chinese.stdout
    page = (tmp_path / "zh" / "index.html").read_text("utf-8")
    assert '<html lang="zh-Hans">' in page and "如何阅读本页" in page and "How to read" not in page
    assert not CHINESE.search((tmp_path / "en" / "index.html").read_text("utf-8"))
    assert current_language() == "en"


def test_a_summary_in_chinese_holds_the_same_data(xai_command, finished, monkeypatch):
    drawn = []
    monkeypatch.setattr("xai.report.render.write_pictures", lambda *_, **__: drawn.append(current_language()))
    found = {}
    for lang in ("en", "zh"):
        run = xai_command("benchmark", "summary", finished, "--lang", lang)
        assert run.code == 0, run.stderr
        data = json.loads((finished / "summary.json").read_text("utf-8"))
        found[lang] = (run.stdout + run.stderr, (finished / "summary.md").read_text("utf-8"), data)
    assert found["en"][2] == found["zh"][2]
    assert not CHINESE.search(found["en"][0] + found["en"][1])
    assert "## 结论" in found["zh"][1] and "越高越好" in found["zh"][0]
    # what is left in Latin letters of the Markdown are names, numbers and versions
    for line in found["zh"][1].splitlines():
        if line.startswith("## ") or line.endswith((".", "。")):
            assert CHINESE.search(line), line


def test_a_report_in_chinese(xai_command, finished):
    run = xai_command("report", finished, "--lang", "zh", "--out", "page.html")
    assert run.code == 0, run.stderr
    assert "已写入 page.html" in run.stderr
    data = xai_command("report", finished, "--lang", "zh", "--data-only", "--out", "page.json")
    assert data.code == 0, data.stderr


def test_pictures_are_english_without_a_font(monkeypatch, xai_command, tmp_path, detector):
    """A picture of escapes would help nobody."""
    said = []
    monkeypatch.setattr(text, "_installed", lambda: ())
    monkeypatch.setattr("xai.report.words.made_by", lambda *_, **__: said.append(current_language()) or "")
    write_photos(tmp_path / "in", 1)
    assert xai_command("explain", "in", "--config", detector, "--lang", "zh").code == 0
    assert set(said) == {"en"}
