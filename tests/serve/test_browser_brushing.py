"""The page in Chromium: maps as they come, evidence brushed away, scores, files to keep."""

import re

import numpy as np
import pytest
from browsing import pixels
from playwright.sync_api import expect
from serve_pages import GATE, METHOD, give, saved, stroke, unfold

from xai.explanation import read_method_file

pytestmark = pytest.mark.browser


def test_an_image_is_explained_as_it_comes_and_work_is_cancelled(open_page):
    tab = open_page()
    give(tab, 0)
    expect(tab.get_by_role("heading", name="photo-0.png")).to_be_visible()
    titles = tab.locator(".map-row figcaption strong").all_inner_texts()
    assert titles == ["fake", "real"]
    assert tab.locator(".map-row h3").all_inner_texts() == [METHOD]
    captions = tab.locator(".map-row figcaption").all_inner_texts()
    shares = [float(text.split()[-1].strip("%")) for text in captions]
    assert sum(shares) == pytest.approx(100, abs=0.11)
    painted = pixels(tab.locator("canvas.map").first)[..., :3].astype(int)
    assert np.ptp(painted, axis=-1).max() > 30  # colours, not the grey photograph alone
    # one of them can lie under the brush
    photograph = pixels(tab.locator("#canvas"))
    under = tab.get_by_label("Underneath")
    for label, place in (("fake", 0), ("real", 1)):
        under.select_option(label=f"{label}, {METHOD}")
        painted = pixels(tab.locator("#canvas"))
        shown = pixels(tab.locator("canvas.map").nth(place))
        assert (painted != photograph).any()
        # the same map as on the right, at another size
        means = [one[..., :3].reshape(-1, 3).mean(0) for one in (painted, shown)]
        assert means[0] == pytest.approx(means[1], abs=6), label
    under.select_option(label="the image")
    assert (pixels(tab.locator("#canvas")) == photograph).all()
    # work in progress is shown and cancelled: what was asked for and not yet begun is not done
    expect(tab.locator("#queue")).to_be_hidden()
    unfold(tab)
    for method in ("attention rollout", "integrated gradients"):
        tab.get_by_role("checkbox", name=method).check()
    GATE.clear()
    try:
        tab.get_by_role("button", name="Explain", exact=True).click()
        expect(tab.locator("#doing")).to_have_text("Explaining 1 image: 1 of 3")  # one map is there
        expect(tab.locator("#progress")).to_have_attribute("value", re.compile("0.33"))
        with tab.expect_response(lambda answer: "/jobs/" in answer.url):
            tab.get_by_role("button", name="Cancel").click()
    finally:
        GATE.set()
    expect(tab.locator("#queue")).to_be_hidden()
    expect(tab.locator(".map-row")).to_have_count(1)
    tab.get_by_role("button", name="Explain", exact=True).click()
    expect(tab.locator(".map-row")).to_have_count(3)
    expect(tab.get_by_role("button", name="Explain", exact=True)).to_be_disabled()


def test_brushing_changes_the_score_and_random_regions_stand_beside_it(open_page):
    tab = open_page()
    give(tab, 0)
    before = pixels(tab.locator("#canvas"))
    clean = tab.locator("#numbers .was").inner_text()
    expect(tab.get_by_role("button", name="Compare with random regions")).to_be_disabled()
    stroke(tab, (0.3, 0.2), (0.55, 0.2))  # of 64 pixels the model saw 8 to 56
    expect(tab.locator("#removed")).to_contain_text("3 of 16 patches removed (18.8%).")
    expect(tab.locator("#removed")).to_contain_text("truly absent")
    expect(tab.locator("#numbers strong")).to_be_visible()
    assert tab.locator("#numbers .was").inner_text() == clean
    assert (pixels(tab.locator("#canvas")) != before).any()
    tab.get_by_role("button", name="Compare with random regions").click()
    expect(tab.locator("#strip .dot")).to_have_count(19)
    first = tab.locator("#finding").inner_text()
    assert re.search(r"\d+ of 19 random regions of the same size .* \(p = [\d.]+, seed 0\)", first)
    label = tab.locator("#strip svg").get_attribute("aria-label")
    assert label.startswith("Margin of fake" if "fake" in label else "Margin of real")
    # the same seed again: the same regions
    dots = tab.locator("#strip").inner_html()
    tab.get_by_role("button", name="Compare with random regions").click()
    expect(tab.locator("#strip .dot")).to_have_count(19)
    assert tab.locator("#strip").inner_html() == dots
    tab.get_by_label("Seed").fill("7")
    tab.get_by_label("Regions", exact=True).select_option("49")
    tab.get_by_role("button", name="Compare with random regions").click()
    expect(tab.locator("#finding")).to_contain_text(re.compile(r"of 49 random regions .* seed 7"))
    expect(tab.locator("#strip .dot")).to_have_count(49)
    # another class has another score, and what was compared is not said of it
    shown = tab.get_by_label("Score of").input_value()
    other = {"fake": "real", "real": "fake"}[shown]
    tab.get_by_label("Score of").select_option(other)
    expect(tab.locator("#numbers")).to_contain_text(f"probability of {other}")
    expect(tab.locator("#strip")).to_be_hidden()
    shares = [float(one.strip("%")) for one in (clean, tab.locator("#numbers .was").inner_text())]
    assert sum(shares) == pytest.approx(100, abs=0.11)
    tab.get_by_label("Score of").select_option(shown)
    # what was compared is not said of another region
    tab.get_by_role("button", name="Undo").click()
    expect(tab.locator("#removed")).to_have_text("Nothing is removed yet.")
    expect(tab.locator("#strip")).to_be_hidden()
    assert (pixels(tab.locator("#canvas")) == before).all()


def test_restoring_widths_keys_and_the_strongest_patches(open_page):
    tab = open_page()
    give(tab, 0)
    removed = tab.locator("#removed")
    tab.locator("#width").get_by_text("3").click()
    stroke(tab, (0.4, 0.4), (0.4, 0.4))
    expect(removed).to_contain_text("9 of 16")
    expect(tab.locator("#finding")).to_contain_text("More than a third")
    expect(tab.get_by_role("button", name="Compare with random regions")).to_be_disabled()
    tab.locator("#width").get_by_text("5").click()
    stroke(tab, (0.4, 0.4), (0.4, 0.4))
    expect(removed).to_contain_text("16 of 16")
    tab.get_by_role("button", name="Undo").click()
    tab.locator("#mode").get_by_text("Restore").click()
    tab.locator("#width").get_by_text("1", exact=True).click()
    stroke(tab, (0.4, 0.4), (0.4, 0.4))
    expect(removed).to_contain_text("8 of 16")
    tab.get_by_role("button", name="Clear").click()
    expect(removed).to_have_text("Nothing is removed yet.")
    tab.locator("#mode").get_by_text("Remove").click()
    canvas = tab.locator("#canvas")
    canvas.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", " "):
        canvas.press(key)
    expect(tab.locator("#where")).to_have_text("row 2, column 2: removed")
    for key in ("ArrowDown", "ArrowRight"):
        canvas.press(key)
    expect(tab.locator("#where")).to_have_text("row 3, column 3")
    expect(removed).to_contain_text("1 of 16")
    # outside of what the model saw there is nothing to take away
    stroke(tab, (0.02, 0.5), (0.05, 0.9))
    expect(removed).to_contain_text("1 of 16")
    tab.get_by_role("button", name="Remove the strongest 10% of the patches for real").click()
    expect(removed).to_contain_text("2 of 16")
    expect(tab.get_by_label("Score of")).to_have_value("real")


def test_picture_page_and_configuration_are_saved(open_page, tmp_path):
    tab = open_page()
    give(tab, 0, 1, name="照片")
    picture = saved(tab, "Picture of these maps", tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.name.startswith("照片-0")
    configuration = read_method_file(saved(tab, f"Save the configuration of {METHOD}", tmp_path))
    assert configuration.method == "integrated_mask_gradient"
    for button, others in (("Page of all images", True), ("Page of this image", False)):
        text = saved(tab, button, tmp_path).read_text("utf-8")
        assert text.startswith("<!DOCTYPE html>")
        assert "照片-0.png" in text
        assert ("照片-1.png" in text) is others
