"""The page of a survey: every picture is there, nothing is fetched or run, and everybody can read it."""

import numpy as np
import pytest
from browsing import axe, described, grave
from survey_pages import NAME, comparison, survey

from xai.core.language import language
from xai.report.survey import survey_markdown
from xai.report.survey_page import comparison_markdown, comparison_page, survey_page

BROKEN = (
    """() => [...document.images].filter((one) => !one.complete || !one.naturalWidth || !one.alt).length"""
)


@pytest.fixture(scope="module")
def opened(open_once, tmp_path_factory):
    """The page in a language; every test leaves it as it was."""
    tabs = {}

    def open_(lang):
        if lang not in tabs:
            path = tmp_path_factory.mktemp("survey") / "survey.html"
            path.write_text(survey_page(survey(), lang), "utf-8")
            tabs[lang] = open_once(path, wait_ready=False)
        return tabs[lang]

    return open_


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_page_of_a_survey(opened, lang):
    tab = opened(lang)
    assert tab.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-Hans"}[lang]
    assert tab.locator("h1").inner_text() == NAME  # text, not markup
    assert tab.evaluate("() => document.images.length") > 25 and tab.evaluate(BROKEN) == 0
    if lang == "en":
        assert not (found := grave(axe(tab))), described(found)
    first = tab.locator(".strip").first
    assert (
        first.locator("figcaption")
        .all_inner_texts()[1]
        .startswith({"en": "label fake", "zh": "标签 fake"}[lang])
    )
    # a narrow screen shows all of it, without a bar at the bottom
    tab.set_viewport_size({"width": 360, "height": 800})
    fits = tab.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    tab.set_viewport_size({"width": 1280, "height": 900})
    assert fits


def test_bars_of_face_parts_are_as_long_as_the_shares(opened):
    tab = opened("en")
    charts = tab.locator(".part-chart")
    assert charts.count() == 1  # the other section has no landmarks
    (section,) = (one for one in survey().sections if one.parts)
    shares = [one.share for one in section.parts if one.label == "fake" and one.sign == "positive"]
    widths = charts.locator("rect.bar-0").evaluate_all(
        "(bars) => bars.map((bar) => bar.getBoundingClientRect().width)"
    )
    assert len(widths) == len(shares) == 9
    assert np.allclose(np.array(widths) / widths[-1], np.array(shares) / shares[-1], atol=0.01)
    assert charts.locator("thead th").all_inner_texts() == ["part", "label fake", "label real", "area"]
    assert charts.locator("tbody tr").first.locator("td").all_inner_texts()[1:] == ["2.2%", "2.2%", "11.1%"]


def test_a_page_of_two_surveys(open_page, tmp_path):
    path = tmp_path / "pair.html"
    path.write_text(comparison_page(comparison(), "zh"), "utf-8")
    tab = open_page(path, wait_ready=False)
    assert tab.locator("h1").inner_text() == "<i>one</i> − two"
    assert tab.locator("figure").count() == 4 and tab.evaluate(BROKEN) == 0
    assert tab.locator("caption").all_inner_texts()[:2] == ["对相同图像的回答", "同一图像两张热图的秩相关"]
    assert tab.locator("table").last.locator("td").all_inner_texts()[3:] == [
        "30.0%", "20.0%", "+10.0", "+2.0 … +18.0", "5.0%",
    ]  # fmt: skip
    text = comparison_markdown(comparison(), "en")
    assert "the same on 80.0%" in text and "different classes, predicted and fake" in text
    assert not grave(axe(tab))


def test_pixels_of_a_map_are_the_colours_of_its_scale(opened):
    """Blue and orange either side of zero, and where p is large the difference is not shown."""
    tab = opened("en")
    strip = tab.locator(".strip", has=tab.locator("h3", has_text="Differences")).last
    assert strip.locator("figure").count() == 3  # the second contrast was not tested
    read = """(image) => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      return [canvas.width, canvas.height, ...context.getImageData(0, 0, canvas.width, canvas.height).data];
    }"""
    width, height, *pixels = strip.locator("img[alt*=Label]").nth(1).evaluate(read)
    contrast = survey().sections[1].contrasts[0]
    assert (width, height) == (4, 4)
    for i, (value, p) in enumerate(zip(contrast.difference.ravel(), contrast.p.ravel(), strict=True)):
        red, _, blue = pixels[4 * i : 4 * i + 3]
        if p >= 0.05:
            assert abs(red - blue) < 4
        elif abs(value) > 0.1:
            assert abs(red - blue) > 4 and (red > blue) == (value > 0)


def test_markdown_in_both_languages():
    english, chinese = survey_markdown(survey(), "en"), survey_markdown(survey(), "zh")
    assert english.index("label fake") < english.index("label real")
    assert "1 map without any relevance is in no mean" in english and "not tested" in english
    assert "平均热图" in chinese and "Mean maps" not in chinese
    with language("zh"):
        assert survey_markdown(survey()) == chinese
