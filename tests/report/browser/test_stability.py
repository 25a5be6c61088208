"""What becomes of the map when the picture gets worse, on the evidence sheet: numbers are the payload's."""

import pytest
from browsing import axe, described
from playwright.sync_api import expect
from report_pages import explanation_page
from sheets import HOSTILE, changed, data, section, shown

from xai.report.image_payload import DegradedImage, Stability

TITLE = "Does it hold when the picture gets worse?"


def found() -> Stability:
    rows = [
        ("jpeg-95", "JPEG 95", 0.91, 0.85, 0.97, 3.5, "fake", "kept", "same map"),
        ("resize-0.25", "resize to 25%", 0.31, 0.2, 0.04, -3.1, "real", "shifted", "map changed"),
        ("upload", HOSTILE, None, None, None, 0.25, "fake", "not_compared", "constant map, not compared"),
    ]
    degraded = [DegradedImage(**dict(zip(DegradedImage.model_fields, row, strict=True))) for row in rows]
    return Stability(
        target="fake",
        probability=0.98,
        margin=3.9,
        unrelated=0.2,
        unrelated_high=0.3,
        others=8,
        top=0.1,
        verdict="shifted",
        sentences=["One sentence.", HOSTILE],
        degraded=degraded,
    )


def test_the_table_holds_the_numbers_and_the_verdicts(open_page):
    tab = open_page(changed(explanation_page(images=2), stability=found()), hash="#sheet-0")
    part = section(tab, TITLE)
    lines = part.locator("tbody tr")
    expect(lines).to_have_count(4)
    assert data(lines.nth(0)) == pytest.approx([0.98, 3.9])
    assert data(lines.nth(1)) == pytest.approx([0.91, 0.85, 0.97, 3.5])
    assert data(lines.nth(2)) == pytest.approx([0.31, 0.2, 0.04, -3.1])
    assert data(lines.nth(3)) == pytest.approx([0.25])
    tags = part.locator(".tag")
    assert [tag.get_attribute("class") for tag in tags.all()] == ["tag good", "tag warn", "tag plain"]
    assert tags.all_inner_texts() == ["same map", "map changed", "constant map, not compared"]
    assert part.locator(".stability-said").count() == 2 and part.locator("img").count() == 0
    assert described(axe(tab, "#sheet-content .stability")) == ""
    tab.set_viewport_size({"width": 390, "height": 800})
    assert part.evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    tab.keyboard.press("ArrowRight")
    shown(tab, 1)
    expect(section(tab, TITLE)).to_have_count(0)
